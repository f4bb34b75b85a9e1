"""What a study has tried, in the few columns that a proposal is made from.

`Reader.read` gives every slot that has widths. A slot that is done never changes again, so a reader
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
from ..database.tables import BEGUN, DONE, slots
from .slot import StudyRow, load, of_study


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One slot that has widths.

    Attributes:
        number: Place in the study's budget, from 0.
        state: free, leased or done.
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
    state: str
    outcome: str | None
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
class Reader:
    """Reads what one study has tried; may be used by several threads."""

    def __init__(self, database: Database, study: StudyRow) -> None:
        self._database = database
        self._study = study
        self._done: set[int] = set()
        self._first_open = 0  # every slot before it is done and known
        self._tried: list[Tried] = []  # of the done ones; those that failed early have no widths
        self._lock = threading.Lock()

    def read(self) -> list[Tried]:
        """Every slot that has widths, by number."""
        with self._lock:
            under_way = self._database.read(self._update)
            return sorted([*self._tried, *under_way], key=_number)

    def _update(self, connection: Connection) -> list[Tried]:
        """Learn of the slots that are done now; returns those that are not."""
        mine = of_study(self._study.id)
        # First those under way: one that is done in between is then seen twice, not missed.
        open_rows = connection.execute(select(*_COLUMNS).where(mine, BEGUN)).all()
        done = select(slots.c.number).where(mine, DONE, slots.c.number >= self._first_open)
        new = set(connection.scalars(done)) - self._done
        if new:
            # Slots are claimed in the order of their numbers: what is new stands near the end.
            query = select(*_COLUMNS).where(mine, DONE, slots.c.number >= min(new))
            rows = connection.execute(query).all()
            self._learn([row for row in rows if row.number in new])
        return [_tried(row) for row in open_rows if row.number not in self._done]

    def _learn(self, rows: Sequence[Row[*tuple[Any, ...]]]) -> None:
        self._done |= {row.number for row in rows}
        self._tried = sorted(
            [*self._tried, *(_tried(row) for row in rows if row.widths is not None)], key=_number
        )
        while self._first_open in self._done:
            self._first_open += 1


_number = attrgetter("number")


def _tried(row: Row[*tuple[Any, ...]]) -> Tried:
    return Tried(
        number=row.number,
        state=row.state,
        outcome=row.outcome,
        widths=load(row.widths) or {},
        value=row.value,
        score=row.score,
        fidelity=row.fidelity,
        spread=row.spread,
        measured=load(row.measured) or {},
        rungs=tuple((float(at), score) for at, score in (load(row.rungs) or {}).items()),
    )
