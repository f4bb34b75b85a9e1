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


def extend(database: "Database", study: "StudyRow", *, more: int, worker: str) -> int:
    """Add exactly that many slots, whoever else adds some; returns the new budget."""
    if more < 0:
        raise BudgetRefused(
            f"The study '{study.name}' cannot be extended by {more} trials; expected 0 or more."
        )
    request = uuid.uuid4().hex

    def work(connection: Connection) -> int:
        present = _lock(connection, study.id)
        once = f"extended:{request}"
        entry = events.Entry(kind="extended", worker=worker, once=once, detail={"slots": more})
        if not events.append(connection, study.id, entry):
            return present  # repeated after a lost reply: the slots are there already
        grow(connection, study.id, present=present, total=present + more)
        return present + more

    return database.write(work)


def set_budget(database: "Database", study: "StudyRow", *, total: int, worker: str) -> int:
    """Make it so many slots; BudgetRefused if there are more already. Returns the budget."""

    def work(connection: Connection) -> int:
        present = _lock(connection, study.id)
        if total < present:
            raise BudgetRefused(
                f"The study '{study.name}' has {present} trials and cannot be cut to {total}; "
                f"expected {present} or more."
            )
        if total > present:
            detail = {"slots": total - present}
            entry = events.Entry(kind="extended", worker=worker, detail=detail)
            events.append(connection, study.id, entry)
            grow(connection, study.id, present=present, total=total)
        return total

    return database.write(work)


def grow(connection: Connection, study_id: int, *, present: int, total: int) -> None:
    """Add free slots numbered from `present` up to `total`, in the caller's transaction."""
    if total > present:
        rows = [{"study_id": study_id, "number": number} for number in range(present, total)]
        connection.execute(insert(slots), rows)


def _lock(connection: Connection, study_id: int) -> int:
    """Let no other transaction change this budget until ours ends; returns its size."""
    connection.execute(select(studies.c.id).where(studies.c.id == study_id).with_for_update())
    return connection.execute(select(func.count()).where(of_study(study_id))).scalar_one()
