"""What a study's ledger holds at this moment, read without a lease and without being a worker.

Every method of `LedgerReader` is one named query on the slots of one study.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, final

from sqlalchemy import ColumnElement, Row, Select, func, literal, null, select, union_all

from ..database.database import Database
from ..database.dialect import database_now, database_started
from ..database.tables import PAUSED_SLOTS, UNBOUND, slots, studies
from . import events
from .budget import find_closing, rows_missing
from .claim import LEASE_SECONDS, is_leased
from .slot import (
    SlotCounts,
    SlotRecord,
    SlotState,
    StudyRow,
    StudyStatus,
    TrialOutcome,
    load_json,
    of_study,
)
from .tried import TriedReader, TriedSlot

RUNNING = "running"
PAUSED = "paused"


@final
class LedgerReader:
    """The queries on one study's ledger; may be used by several threads."""

    def __init__(
        self, database: Database, study: StudyRow, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        """Read a study.

        Args:
            database: Where it is.
            study: Whose slots.
            lease_seconds: Of the ledger that would claim, for `seconds_until_claimable`.
        """
        self._database = database
        self._study = study
        self._lease_seconds = lease_seconds
        self._tried_reader = TriedReader(database, study)

    def status(self) -> StudyStatus:
        """Return whether the study is open, paused or cancelled."""
        return StudyStatus(
            self._scalar(select(studies.c.status).where(studies.c.id == self._study.id))
        )

    def untrained_reason(self) -> str | None:
        """Return why the study was ended as it learned nothing; None if not, or open again."""
        if self.status() is not StudyStatus.CANCELLED:
            return None
        key = events.untrained_key(self._study)
        detail = self._database.read(lambda connection: events.find(connection, key))
        return None if detail is None else str(detail["reason"])

    def warnings(self, after: int = 0) -> list[events.Event]:
        """Return what workers have warned of, oldest first; see `events.warnings`."""
        return events.warnings(self._database, self._study, after=after)

    def counts(self) -> SlotCounts:
        """Return how many slots are in which condition."""
        in_study = of_study(self._study.id)
        by_state = (
            select(slots.c.state, slots.c.outcome, func.count())
            .where(in_study)
            .group_by(slots.c.state, slots.c.outcome)
        )
        # One statement, so that all parts see the same moment; the first part reads only an index.
        running = select(literal(RUNNING), null(), func.count()).where(in_study, is_leased())
        paused = select(literal(PAUSED), null(), func.count()).where(in_study, PAUSED_SLOTS)
        totals: Counter[str] = Counter()
        unmade = select(literal(SlotState.FREE), null(), rows_missing()).where(
            studies.c.id == self._study.id
        )
        for state, outcome, number in self._rows(union_all(by_state, running, paused, unmade)):
            totals[_condition(state, outcome)] += number
        totals["waiting"] -= totals[RUNNING]
        names = ("complete", RUNNING, "failed", "pruned", "waiting", PAUSED)
        return SlotCounts(**{name: totals[name] for name in names})

    def open_slots(self) -> int:
        """Return the number of slots that are not done."""
        return self._count_with_unmade(slots.c.state != SlotState.DONE)

    def unbound(self) -> int:
        """Return the number of slots that are not done and have no widths yet."""
        return self._count_with_unmade(UNBOUND)

    def _count_with_unmade(self, condition: ColumnElement[bool]) -> int:
        """Return how many slots meet a condition that those without a row meet, too."""
        made = select(func.count()).where(of_study(self._study.id), condition).scalar_subquery()
        query = select(made + rows_missing()).where(studies.c.id == self._study.id)
        return int(self._scalar(query))

    def choosing_before(self, number: int) -> frozenset[str]:
        """Return the tokens of the slots below a number that a worker holds without widths."""
        query = select(slots.c.token).where(
            of_study(self._study.id), UNBOUND, is_leased(), slots.c.number < number
        )
        return frozenset(row.token for row in self._rows(query))

    def seconds_until_claimable(self) -> float | None:
        """Return the seconds until a leased slot may be claimed, 0 if now; None without leases."""
        query = select(
            func.min(slots.c.lease_until) - database_now(),
            database_started() + self._lease_seconds - database_now(),
        ).where(of_study(self._study.id), slots.c.state == SlotState.LEASED)
        [(remaining, restart_grace)] = self._rows(query)
        return None if remaining is None else max(float(remaining), float(restart_grace), 0.0)

    def record(self, number: int) -> SlotRecord:
        """Return one slot."""
        query = select(slots).where(of_study(self._study.id), slots.c.number == number)
        [row] = self._rows(query)
        return SlotRecord.from_row(row)

    def records_of(self, numbers: Sequence[int]) -> list[SlotRecord]:
        """Return the slots of these numbers that have a row, by number."""
        query = select(slots).where(of_study(self._study.id), slots.c.number.in_(numbers))
        return [SlotRecord.from_row(row) for row in self._rows(query.order_by(slots.c.number))]

    def closing(self) -> Mapping[str, Any] | None:
        """Return why and by how much a study stopped itself; None where it did not.

        Returns:
            "before" and "saved", numbers of slots, and what else `Ledger.close` was given.
        """
        return self._database.read(lambda connection: find_closing(connection, self._study.id))

    def records(self) -> list[SlotRecord]:
        """Return all slots that have a row, by number; those after them nobody claimed yet."""
        query = select(slots).where(of_study(self._study.id)).order_by(slots.c.number)
        return [SlotRecord.from_row(row) for row in self._rows(query)]

    def count_outcome(self, outcome: TrialOutcome) -> int:
        """Return the number of slots that ended so."""
        query = select(func.count()).where(of_study(self._study.id), slots.c.outcome == outcome)
        return int(self._scalar(query))

    def first_complete(self, limit: int) -> list[SlotRecord]:
        """Return the slots that were the first to be complete, in that order."""
        query = (
            select(slots)
            .where(of_study(self._study.id), slots.c.outcome == TrialOutcome.COMPLETE)
            .order_by(slots.c.finished_at, slots.c.number)
            .limit(limit)
        )
        return [SlotRecord.from_row(row) for row in self._rows(query)]

    def leased(self) -> list[SlotRecord]:
        """Return the slots that a worker holds now, by number: their leases have not ended."""
        # Put in order here: asked to do so SQLite reads the whole study in that order.
        rows = self._rows(select(slots).where(of_study(self._study.id), is_leased()))
        return sorted((SlotRecord.from_row(row) for row in rows), key=lambda record: record.number)

    def tried(self) -> list[TriedSlot]:
        """Return every slot that has widths, by number, in the columns that proposals need."""
        return self._tried_reader.read()

    def best_complete(self) -> SlotRecord | None:
        """Return the slot with the best metric, of equals the first; None while none is complete.

        Optuna's direction of the study says which metric is better.
        """
        is_falling = self._study.direction == "minimize"
        best_first = slots.c.value.asc() if is_falling else slots.c.value.desc()
        query = (
            select(slots)
            .where(of_study(self._study.id), slots.c.outcome == TrialOutcome.COMPLETE)
            .order_by(best_first, slots.c.number)
            .limit(1)
        )
        return next((SlotRecord.from_row(row) for row in self._rows(query)), None)

    def count_with(self, key: str) -> int:
        """Return the number of slots whose result has a key that is true.

        Args:
            key: Of the result itself, an identifier.
        """
        # As `dump_json` writes it; within a text the quotes would stand behind backslashes.
        pattern = slots.c.result.contains(f'"{key}": true', autoescape=True)
        in_study = of_study(self._study.id)
        return int(
            self._scalar(
                select(func.count()).where(in_study, slots.c.state == SlotState.DONE, pattern)
            )
        )

    def out_of_memory(self) -> list[tuple[Mapping[str, int], str | None]]:
        """Return the widths that ran out of memory, and the device's class, by slot number.

        The class is the `device_class` of the slot's result, None where that has none. Trainings
        with overrides are left out: they say nothing of others.
        """
        query = (
            select(slots.c.widths, slots.c.result)
            .where(
                of_study(self._study.id),
                slots.c.state == SlotState.DONE,
                slots.c.outcome == TrialOutcome.OUT_OF_MEMORY,
                slots.c.widths.is_not(None),
                slots.c.overrides.is_(None),
            )
            .order_by(slots.c.number)
        )
        return [
            (load_json(row.widths) or {}, (load_json(row.result) or {}).get("device_class"))
            for row in self._rows(query)
        ]

    def _rows(self, query: Any) -> list[Row[*tuple[Any, ...]]]:
        return self._database.read(lambda connection: list(connection.execute(query)))

    def _scalar(self, query: Select[Any]) -> Any:
        return self._database.read(lambda connection: connection.execute(query).scalar_one())


def _condition(state: str, outcome: str | None) -> str:
    """Return the field of `SlotCounts` that counts a slot."""
    if outcome is not None:
        return TrialOutcome(outcome).count_name
    return state if state in (RUNNING, PAUSED) else "waiting"
