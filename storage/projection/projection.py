"""The projection: Optuna's trials, written after the ledger and from it.

`open_many` makes the trials of slots in one transaction; `close_many` ends them once the slots are
settled. `repair` ends those whose workers died between the two, and lets those wait whose slots
were given back, or whose leases have ended: they run again with their next holder. So samplers and
dashboards can read Optuna's tables, and no result is lost where those lag behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, update

from ..database.database import Database
from ..database.tables import NOT_PROJECTED, UNPROJECTED, slots
from ..database.url import format_url
from ..errors import StudyNotFound
from ..ledger import events
from ..ledger.claim import is_leased
from ..ledger.fence import Fence, is_held
from ..ledger.slot import Slot, StudyRow, TrialOutcome, load_json, of_study
from . import trial_rows

SLOT_ATTRIBUTE = "slot"
"""User attribute of a trial: the number of its slot."""

_OPEN_TRIAL_ACTION = "open its trial"
_END_COLUMNS = (
    slots.c.number,
    slots.c.token,
    slots.c.trial_id,
    slots.c.outcome,
    slots.c.value,
    slots.c.result,
)


@dataclass(frozen=True, kw_only=True)
class TrialStart:
    """The trial to be made for one slot.

    Attributes:
        slot: The slot, as claimed, its widths bound.
        constraints: Violation by name; 0 or less is feasible.
        attributes: User attributes of the trial.
    """

    slot: Slot
    constraints: Mapping[str, float]
    attributes: Mapping[str, Any]


@final
class Projection:
    """Optuna's trials of one study."""

    def __init__(self, database: Database, study: StudyRow) -> None:
        self._database = database
        self._study = study
        self._fence = Fence(database, study)
        self._orphans_checked = False
        database.optuna_storage()  # makes its tables, and checks their version

    @property
    def study_name(self) -> str:
        """Return the name of the study whose trials these are."""
        return self._study.name

    @property
    def study_kind(self) -> str | None:
        """Return in which way the study follows up another one; None of one of its own."""
        return self._study.kind

    def open_many(
        self, starts: Sequence[TrialStart], *, distributions: Mapping[str, BaseDistribution]
    ) -> list[int | None]:
        """Make the running trials of slots that have widths, all in one transaction.

        A slot that has a trial keeps it, and the trial runs again.

        Args:
            starts: Slot, constraints and attributes of each.
            distributions: Of every width.

        Returns:
            Optuna's id of each trial, None for a slot that another worker has.

        Raises:
            StudyNotFound: If somebody deleted Optuna's study.
        """
        templates = {start.slot.number: _trial_template(start, distributions) for start in starts}
        batch = [start.slot for start in starts]

        def insert_missing_trials(connection: Connection) -> list[int | None]:
            rows = self._fence.lock_rows(connection, batch)
            lost = [slot for slot in batch if not is_held(rows[slot.number], slot)]
            self._fence.record_refusals(connection, lost, action=_OPEN_TRIAL_ACTION)
            lost_numbers = {slot.number for slot in lost}
            trial_ids = {
                row.number: row.trial_id for row in rows.values() if row.number not in lost_numbers
            }
            unopened = [number for number, trial_id in trial_ids.items() if trial_id is None]
            adopted = [trial_id for trial_id in trial_ids.values() if trial_id is not None]
            trial_rows.move_trials(connection, adopted, TrialState.RUNNING)
            trial_ids |= self._insert_trials(
                connection, {number: templates[number] for number in unopened}
            )
            return [trial_ids.get(slot.number) for slot in batch]

        return self._database.write(insert_missing_trials)

    def close_many(self, numbers: Sequence[int]) -> int:
        """End the trials of done slots, all in one transaction.

        Of a slot's result, `curve` becomes the intermediate values (one per epoch) and `attributes`
        the trial's user attributes. A trial that is finished or deleted stays as it is.

        Args:
            numbers: Of the slots. Those that are not done, or are projected already, are skipped.

        Returns:
            The number of slots that were projected now.
        """
        if not numbers:
            return 0
        return self._write_close(slots.c.number.in_(numbers), events.EventKind.PROJECTED)

    def repair(self) -> int:
        """End the trials of all done slots that are not projected, and fail orphans.

        A trial whose slot is not done is RUNNING while somebody holds the slot, else WAITING.
        An orphan is a running trial that names a slot which has another trial. The code here makes
        none, so only the first call searches for them.

        Returns:
            The number of trials that were repaired.
        """
        rows = self._database.read(lambda connection: self._open_rows(connection, lock=False))
        repaired = 0
        if unprojected := [row.number for row in rows if row.is_unprojected]:
            repaired += self._write_close(
                slots.c.number.in_(unprojected), events.EventKind.REPAIRED
            )
        if not self._orphans_checked:
            repaired += self._database.write(self._fail_orphans)
            self._orphans_checked = True
        if _misplaced(rows):
            repaired += self._database.write(self._place_unfinished, durable=False)
        return repaired

    def _place_unfinished(self, connection: Connection) -> int:
        """Let trials of slots that are not done run or wait, as their slots do."""
        misplaced = _misplaced(self._open_rows(connection, lock=True))
        for state in (TrialState.RUNNING, TrialState.WAITING):
            ids = [trial_id for trial_id, fitting in misplaced.items() if fitting is state]
            trial_rows.move_trials(connection, ids, state)
        return len(misplaced)

    def _open_rows(self, connection: Connection, *, lock: bool) -> Sequence[Row[Any]]:
        """Return the slots whose trial has not ended, with its state and what that should be."""
        # Every transaction locks in the order of the numbers, so that no two wait for each other.
        query = (
            select(
                slots.c.number,
                slots.c.trial_id,
                UNPROJECTED.label("is_unprojected"),
                is_leased().label("is_leased"),
                trial_rows.trial_state(slots.c.trial_id).label("shown"),
            )
            .where(of_study(self._study.id), NOT_PROJECTED)
            .order_by(slots.c.number)
        )
        return connection.execute(query.with_for_update(of=slots) if lock else query).all()

    def _insert_trials(
        self, connection: Connection, templates: Mapping[int, FrozenTrial]
    ) -> dict[int, int]:
        """Make the trials of slots and store their ids there; return the ids by slot number."""
        if not templates:
            return {}
        inserted = trial_rows.insert_trials(
            connection, self._study.optuna_study_id, list(templates.values())
        )
        if inserted is None:
            raise self._study_deleted()
        statement = (
            update(slots)
            .where(of_study(self._study.id), slots.c.number == bindparam("slot_number"))
            .values(trial_id=bindparam("new_trial_id"))
        )
        trial_ids = dict(zip(templates, inserted, strict=True))
        rows = [
            {"slot_number": number, "new_trial_id": trial_id}
            for number, trial_id in trial_ids.items()
        ]
        connection.execute(statement, rows)
        return trial_ids

    def _write_close(self, condition: ColumnElement[bool], kind: events.EventKind) -> int:
        return self._database.write(
            lambda connection: self._close(connection, condition, kind), durable=False
        )

    def _close(
        self, connection: Connection, condition: ColumnElement[bool], kind: events.EventKind
    ) -> int:
        """Project those done slots that meet the condition and are not projected."""
        query = select(*_END_COLUMNS).where(of_study(self._study.id), UNPROJECTED, condition)
        rows = connection.execute(query.order_by(slots.c.number).with_for_update()).all()
        if not rows:
            return 0
        trial_rows.end_trials(
            connection, [_trial_end(row) for row in rows if row.trial_id is not None]
        )
        numbers = [row.number for row in rows]
        connection.execute(
            update(slots)
            .where(of_study(self._study.id), slots.c.number.in_(numbers))
            .values(projected=True)
        )
        entries = [events.NewEvent(kind=kind, number=row.number, token=row.token) for row in rows]
        events.append_all(connection, self._study.id, entries)
        return len(rows)

    def _fail_orphans(self, connection: Connection) -> int:
        slot_numbers = trial_rows.running_attributes(
            connection, self._study.optuna_study_id, SLOT_ATTRIBUTE
        )
        query = select(slots.c.number, slots.c.trial_id).where(
            of_study(self._study.id),
            slots.c.number.in_(slot_numbers.values()),
            slots.c.trial_id.is_not(None),
        )
        bound_trials = {row.number: row.trial_id for row in connection.execute(query)}
        orphans = {
            trial_id: number
            for trial_id, number in slot_numbers.items()
            if bound_trials.get(number, trial_id) != trial_id
        }
        trial_rows.end_trials(connection, [_failed_end(trial_id) for trial_id in orphans])
        entries = [
            events.NewEvent(
                kind=events.EventKind.REPAIRED, number=number, detail={"orphan": trial_id}
            )
            for trial_id, number in orphans.items()
        ]
        events.append_all(connection, self._study.id, entries)
        return len(orphans)

    def _study_deleted(self) -> StudyNotFound:
        return StudyNotFound(
            f"Optuna's side of the study '{self._study.name}' is gone from "
            f"{format_url(self._database.url)}: somebody deleted it; start a study of another name."
        )


def _misplaced(rows: Sequence[Row[Any]]) -> dict[int, TrialState]:
    """Return the fitting state of each trial that shows another one, by its id."""
    unfinished = [
        row
        for row in rows
        if not row.is_unprojected and row.shown in (TrialState.RUNNING, TrialState.WAITING)
    ]
    fitting = {
        row.trial_id: TrialState.RUNNING if row.is_leased else TrialState.WAITING
        for row in unfinished
    }
    return {
        row.trial_id: fitting[row.trial_id]
        for row in unfinished
        if row.shown is not fitting[row.trial_id]
    }


def _trial_template(
    start: TrialStart, distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    assert start.slot.widths is not None, "widths are bound before their trial is made"
    return create_trial(
        state=TrialState.RUNNING,
        params=dict(start.slot.widths),
        distributions=dict(distributions),
        constraints=dict(start.constraints),
        user_attrs={**start.attributes, SLOT_ATTRIBUTE: start.slot.number},
    )


def _trial_end(row: Row[*tuple[Any, ...]]) -> trial_rows.TrialEnd:
    result = load_json(row.result) or {}
    return trial_rows.TrialEnd(
        trial_id=row.trial_id,
        state=TrialOutcome(row.outcome).trial_state,
        value=row.value,
        curve=result.get("curve") or (),
        attributes=result.get("attributes") or {},
    )


def _failed_end(trial_id: int) -> trial_rows.TrialEnd:
    return trial_rows.TrialEnd(
        trial_id=trial_id, state=TrialState.FAIL, value=None, curve=(), attributes={}
    )
