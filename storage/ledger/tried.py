"""What a study has tried, in the few columns that a proposal is made from.

`TriedReader.read` gives every slot that has widths. A slot that is done never changes again, so a reader
keeps what it has read of those and asks only for the new ones: in a study of ten thousand trials
the results are not read ten thousand times each.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, final

from sqlalchemy import Connection, Row, select

from ..database.database import Database
from ..database.tables import BOUND, DONE, slots
from .slot import SlotState, StudyRow, TrialOutcome, load_json, of_study, outcome_from


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedSlot:
    """One slot that has widths.

    Attributes:
        number: Place in the study's budget, from 0.
        state: Free, leased or done.
        outcome: Of a slot that is done, otherwise None: it is in training or still to be trained.
        widths: In the space's order.
        value: The metric, of a slot that is complete.
        score: The metric so far, also of a pruned one, which has no value.
        fidelity: Epochs that the score is worth.
        spread: Standard error of the value.
        measured: What was measured against limits, by name.
        rungs: (epochs, score) wherever it was compared with others.
    """

    number: int
    state: SlotState
    outcome: TrialOutcome | None
    widths: Mapping[str, int]
    value: float | None
    score: float | None
    fidelity: float | None
    spread: float | None
    measured: Mapping[str, float]
    rungs: tuple[tuple[float, float], ...]


_COLUMNS = (
    slots.c.number,
    slots.c.state,
    slots.c.outcome,
    slots.c.widths,
    slots.c.value,
    slots.c.score,
    slots.c.fidelity,
    slots.c.spread,
    slots.c.measured,
    slots.c.rungs,
)


@final
class TriedReader:
    """Reads what one study has tried; may be used by several threads."""

    def __init__(self, database: Database, study: StudyRow) -> None:
        self._database = database
        self._study = study
        self._done_numbers: set[int] = set()
        self._first_unfinished = 0  # every slot before it is done and known
        self._done_slots: list[
            TriedSlot
        ] = []  # of the done ones; those that failed early have no widths
        self._lock = threading.Lock()

    def read(self) -> list[TriedSlot]:
        """Every slot that has widths, by number."""
        with self._lock:
            unfinished = self._database.read(self._read_new)
            return sorted([*self._done_slots, *unfinished], key=_by_number)

    def _read_new(self, connection: Connection) -> list[TriedSlot]:
        """Learn of the slots that are done now; returns those that are not."""
        in_study = of_study(self._study.id)
        # First those under way: one that is done in between is then seen twice, not missed.
        open_rows = connection.execute(select(*_COLUMNS).where(in_study, BOUND)).all()
        done = select(slots.c.number).where(
            in_study, DONE, slots.c.number >= self._first_unfinished
        )
        new_numbers = set(connection.scalars(done)) - self._done_numbers
        if new_numbers:
            # Slots are claimed in the order of their numbers: what is new stands near the end.
            query = select(*_COLUMNS).where(in_study, DONE, slots.c.number >= min(new_numbers))
            rows = connection.execute(query).all()
            self._add_done([row for row in rows if row.number in new_numbers])
        return [_tried_from_row(row) for row in open_rows if row.number not in self._done_numbers]

    def _add_done(self, rows: Sequence[Row[*tuple[Any, ...]]]) -> None:
        self._done_numbers |= {row.number for row in rows}
        self._done_slots = sorted(
            [*self._done_slots, *(_tried_from_row(row) for row in rows if row.widths is not None)],
            key=_by_number,
        )
        while self._first_unfinished in self._done_numbers:
            self._first_unfinished += 1


_by_number = attrgetter("number")


def _tried_from_row(row: Row[*tuple[Any, ...]]) -> TriedSlot:
    return TriedSlot(
        number=row.number,
        state=SlotState(row.state),
        outcome=outcome_from(row.outcome),
        widths=load_json(row.widths) or {},
        value=row.value,
        score=row.score,
        fidelity=row.fidelity,
        spread=row.spread,
        measured=load_json(row.measured) or {},
        rungs=tuple(
            (float(epochs), score) for epochs, score in (load_json(row.rungs) or {}).items()
        ),
    )
