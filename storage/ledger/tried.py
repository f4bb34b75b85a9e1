"""What a study has tried, in the few columns that a proposal is made from.

`TriedReader.read` returns every slot that has widths. A slot that is done never changes again, so a
reader keeps those that it has read and queries only the new ones: in a study of ten thousand trials
no result is read ten thousand times.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Self, final

from sqlalchemy import Connection, Row, select

from ..database.database import Database
from ..database.tables import BOUND, DONE, slots
from .slot import SlotState, StudyRow, TrialOutcome, load_json, of_study, outcome_from


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedSlot:
    """One slot that has widths.

    Attributes:
        number: Index in the study's budget, from 0.
        state: Free, leased or done.
        outcome: Of a slot that is done, otherwise None: it is in training or waits for it.
        widths: In the space's order.
        value: The metric, of a slot that is complete.
        score: The metric so far, also of a pruned one, which has no value.
        fidelity: Epochs that the score is worth.
        spread: Standard error of the value.
        measured: Measured costs by name.
        rungs: (epochs, score) at each rung of successive halving that it reached.
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

    @classmethod
    def from_row(cls, row: Row[*tuple[Any, ...]]) -> Self:
        """Return a row of the slot table as a tried slot."""
        rungs = load_json(row.rungs) or {}
        return cls(
            number=row.number,
            state=SlotState(row.state),
            outcome=outcome_from(row.outcome),
            widths=load_json(row.widths) or {},
            value=row.value,
            score=row.score,
            fidelity=row.fidelity,
            spread=row.spread,
            measured=load_json(row.measured) or {},
            rungs=tuple((float(epochs), score) for epochs, score in rungs.items()),
        )


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


_by_number = attrgetter("number")


@final
class TriedReader:
    """Reads the tried slots of one study; may be used by several threads."""

    def __init__(self, database: Database, study: StudyRow) -> None:
        self._database = database
        self._study = study
        self._done_numbers: set[int] = set()
        self._first_unfinished = 0  # every slot before it is done, and among the numbers
        self._done_slots: list[TriedSlot] = []  # without those that failed before they had widths
        self._lock = threading.Lock()

    def read(self) -> list[TriedSlot]:
        """Return every slot that has widths, by number."""
        with self._lock:
            unfinished = self._database.read(self._read_new)
            return sorted([*self._done_slots, *unfinished], key=_by_number)

    def _read_new(self, connection: Connection) -> list[TriedSlot]:
        """Add the slots that are done now; return those with widths that are not."""
        in_study = of_study(self._study.id)
        # First those that are not done: one that ends in between is then read twice, not missed.
        open_rows = connection.execute(select(*_COLUMNS).where(in_study, BOUND)).all()
        done = select(slots.c.number).where(
            in_study, DONE, slots.c.number >= self._first_unfinished
        )
        new_numbers = set(connection.scalars(done)) - self._done_numbers
        if new_numbers:
            # Slots are claimed in the order of their numbers: new ones are near the end.
            query = select(*_COLUMNS).where(in_study, DONE, slots.c.number >= min(new_numbers))
            rows = connection.execute(query).all()
            self._add_done([row for row in rows if row.number in new_numbers])
        unfinished = [row for row in open_rows if row.number not in self._done_numbers]
        return [TriedSlot.from_row(row) for row in unfinished]

    def _add_done(self, rows: Sequence[Row[*tuple[Any, ...]]]) -> None:
        self._done_numbers |= {row.number for row in rows}
        new_slots = [TriedSlot.from_row(row) for row in rows if row.widths is not None]
        self._done_slots = sorted([*self._done_slots, *new_slots], key=_by_number)
        while self._first_unfinished in self._done_numbers:
            self._first_unfinished += 1
