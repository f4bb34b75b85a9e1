"""The budget: how many slots a study has.

`extend` adds a number of slots, `set_budget` raises their number to a total. A budget never
shrinks: a slot may hold a training that has already run.
"""

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select

from ..database.tables import slots, studies
from ..errors import BudgetRefused
from . import events
from .slot import of_study

MAX_BUDGET = 10_000_000
"""Slots that a study may have."""

if TYPE_CHECKING:
    from ..database.database import Database
    from .slot import StudyRow


def extend(database: "Database", study: "StudyRow", *, additional: int, worker: str) -> int:
    """Add exactly that many slots, whoever else adds some; return the new budget.

    Raises:
        BudgetRefused: If the number is negative.
    """
    if additional < 0:
        raise BudgetRefused(
            f"The study '{study.name}' cannot be extended by {additional} trials; expected 0 or "
            "more."
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
            return current  # an earlier attempt arrived, its reply did not
        add_slots(connection, study.id, current=current, total=current + additional)
        return current + additional

    return database.write(add_once)


def set_budget(database: "Database", study: "StudyRow", *, total: int, worker: str) -> int:
    """Raise the number of slots to `total`; return the budget.

    Raises:
        BudgetRefused: If there are more already.
    """

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
    """Add free slots numbered from `current` to below `total`, in the caller's transaction."""
    if total > current:
        rows = [{"study_id": study_id, "number": number} for number in range(current, total)]
        connection.execute(insert(slots), rows)


def _lock_budget(connection: Connection, study_id: int) -> int:
    """Keep other transactions from changing this budget until ours ends; return its size."""
    connection.execute(select(studies.c.id).where(studies.c.id == study_id).with_for_update())
    return connection.execute(select(func.count()).where(of_study(study_id))).scalar_one()
