"""The budget: how many slots a study has.

`extend` adds slots and `set_budget` sees to it that there are so many. A budget never shrinks: a
slot that exists may hold a training that was paid for.
"""

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select

from ..database.tables import slots, studies
from ..errors import BudgetRefused
from . import events
from .slot import of_study

if TYPE_CHECKING:
    from ..database.database import Database
    from .slot import StudyRow


def extend(database: "Database", study: "StudyRow", *, additional: int, worker: str) -> int:
    """Add exactly that many slots, whoever else adds some; returns the new budget."""
    if additional < 0:
        raise BudgetRefused(
            f"The study '{study.name}' cannot be extended by {additional} trials; expected 0 or more."
        )
    request = uuid.uuid4().hex

    def add_once(connection: Connection) -> int:
        current = _lock_budget(connection, study.id)
        idempotency_key = f"extended:{request}"
        entry = events.NewEvent(
            kind=events.EventKind.EXTENDED,
            worker=worker,
            idempotency_key=idempotency_key,
            detail={"slots": additional},
        )
        if not events.append(connection, study.id, entry):
            return current  # repeated after a lost reply: the slots are there already
        add_slots(connection, study.id, current=current, total=current + additional)
        return current + additional

    return database.write(add_once)


def set_budget(database: "Database", study: "StudyRow", *, total: int, worker: str) -> int:
    """Make it so many slots; BudgetRefused if there are more already. Returns the budget."""

    def grow_to_total(connection: Connection) -> int:
        current = _lock_budget(connection, study.id)
        if total < current:
            raise BudgetRefused(
                f"The study '{study.name}' has {current} trials and cannot be cut to {total}; "
                f"expected {current} or more."
            )
        if total > current:
            detail = {"slots": total - current}
            entry = events.NewEvent(kind=events.EventKind.EXTENDED, worker=worker, detail=detail)
            events.append(connection, study.id, entry)
            add_slots(connection, study.id, current=current, total=total)
        return total

    return database.write(grow_to_total)


def add_slots(connection: Connection, study_id: int, *, current: int, total: int) -> None:
    """Add free slots numbered from `current` up to `total`, in the caller's transaction."""
    if total > current:
        rows = [{"study_id": study_id, "number": number} for number in range(current, total)]
        connection.execute(insert(slots), rows)


def _lock_budget(connection: Connection, study_id: int) -> int:
    """Let no other transaction change this budget until ours ends; returns its size."""
    connection.execute(select(studies.c.id).where(studies.c.id == study_id).with_for_update())
    return connection.execute(select(func.count()).where(of_study(study_id))).scalar_one()
