"""The budget: how many slots a study has.

`extend` adds a number of slots, `set_budget` raises their number to a total. Only `close`, once in
a study, takes slots back, when a search has stopped itself: those behind the last one that somebody
holds or has trained, or that is paused. One that was claimed and given back without widths goes,
too.

The study's row says how many there are: that number is the budget, and changing it one short
transaction, whatever it is. The slots' own rows are made as they are needed, `ROWS_AT_ONCE` of
them in a transaction (`make_rows`), always numbered from 0 without a gap. So a budget of millions
is there at once, holds nobody up and takes no room, and wherever a process dies it is what it was.
"""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from ..database.tables import UNBOUND, slots, studies
from ..errors import BudgetRefused
from . import events
from .slot import SlotState

MAX_BUDGET = 10_000_000
"""Slots that a study may have."""

ROWS_AT_ONCE = 1000
"""Rows of slots that one transaction makes: some milliseconds."""

if TYPE_CHECKING:
    from ..database.database import Database
    from .slot import StudyRow


def extend(database: "Database", study: "StudyRow", *, additional: int, worker: str) -> int:
    """Add exactly that many slots, whoever else adds some; return the new budget.

    Raises:
        BudgetRefused: If the number is negative, or the sum above `MAX_BUDGET`.
    """
    if additional < 0:
        raise BudgetRefused(
            f"The study '{study.name}' cannot be extended by {additional} trials; expected 0 or "
            "more."
        )
    request = uuid.uuid4().hex

    def add_once(connection: Connection) -> int:
        current = lock_budget(connection, study.id)
        total = current + additional
        if total > MAX_BUDGET:
            raise BudgetRefused(
                f"The study '{study.name}' has {current:,} trials and cannot be extended by "
                f"{additional:,}; expected at most {MAX_BUDGET:,} in all."
            )
        idempotency_key = f"extended:{request}"
        entry = events.NewEvent(
            kind=events.EventKind.EXTENDED,
            worker=worker,
            idempotency_key=idempotency_key,
            detail={"slots": additional},
        )
        if not events.append(connection, study.id, entry):
            return current  # an earlier attempt arrived, its reply did not
        _write_budget(connection, study.id, total)
        return total

    return database.write(add_once)


def set_budget(database: "Database", study: "StudyRow", *, total: int, worker: str) -> int:
    """Raise the number of slots to `total`; return the budget.

    Raises:
        BudgetRefused: If there are more already, or it is above `MAX_BUDGET`.
    """

    def grow_to_total(connection: Connection) -> int:
        current = lock_budget(connection, study.id)
        if total > MAX_BUDGET:
            raise BudgetRefused(
                f"The study '{study.name}' cannot have {total:,} trials; expected at most "
                f"{MAX_BUDGET:,}."
            )
        if total < current:
            raise BudgetRefused(
                f"The study '{study.name}' has {current} trials and cannot be cut to {total}; "
                f"expected {current} or more."
            )
        if total > current:
            detail = {"slots": total - current}
            entry = events.NewEvent(kind=events.EventKind.EXTENDED, worker=worker, detail=detail)
            events.append(connection, study.id, entry)
            _write_budget(connection, study.id, total)
        return total

    return database.write(grow_to_total)


def close(
    database: "Database", study: "StudyRow", *, worker: str, detail: Mapping[str, Any]
) -> int | None:
    """End the budget behind the last slot that is held, trained or paused; a study does so once.

    Whoever decides it keeps the slots that it holds, and so does everybody else: they are trained.
    A slot that was claimed and given back without widths is as if nobody had claimed it. What is
    added later, by `extend` or `set_budget`, stays.

    Args:
        database: Where the study is.
        study: The study.
        worker: Who decided.
        detail: Why, for the event.

    Returns:
        How many slots were taken back; None where the study was closed before, by anybody.
    """
    attempt = uuid.uuid4().hex

    def close_once(connection: Connection) -> int | None:
        current = lock_budget(connection, study.id)
        known = events.find(connection, _closed_key(study.id))
        if known is not None:
            # Ours, where our commit arrived and its reply did not.
            return int(known["saved"]) if known["attempt"] == attempt else None
        # No claim takes these until we are done; those who hold one have claimed it before.
        untouched = and_(UNBOUND, slots.c.state == SlotState.FREE, slots.c.hold.is_(None))
        in_study = slots.c.study_id == study.id
        locked = select(slots.c.number).where(in_study, untouched).order_by(slots.c.number)
        unclaimed = set(connection.scalars(locked.with_for_update()))
        end = count_rows(connection, study.id)
        while end and end - 1 in unclaimed:
            end -= 1
        connection.execute(delete(slots).where(in_study, slots.c.number >= end, untouched))
        connection.execute(update(studies).where(studies.c.id == study.id).values(budget=end))
        entry = events.NewEvent(
            kind=events.EventKind.CLOSED,
            worker=worker,
            idempotency_key=_closed_key(study.id),
            detail={**detail, "before": current, "saved": current - end, "attempt": attempt},
        )
        events.append(connection, study.id, entry)
        return current - end

    return database.write(close_once)


def find_closing(connection: Connection, study_id: int) -> dict[str, Any] | None:
    """Return the detail of the event by which a study stopped itself; None where it did not."""
    return events.find(connection, _closed_key(study_id))


def _closed_key(study_id: int) -> str:
    return f"{events.EventKind.CLOSED}:{study_id}"


def make_rows(connection: Connection, study_id: int, *, until: int | None = None) -> int:
    """Make the next rows of slots, in the caller's transaction.

    Args:
        connection: Of the transaction.
        study_id: Of the study.
        until: Make none from this number on; None for all of the budget.

    Returns:
        How many were made, `ROWS_AT_ONCE` at most.
    """
    if count_rows(connection, study_id) >= _budget(connection, study_id):
        return 0
    budget = lock_budget(connection, study_id)
    first = count_rows(connection, study_id)
    end = min(budget, first + ROWS_AT_ONCE, budget if until is None else until)
    if end <= first:
        return 0
    # Made by the database itself: nothing is sent for each row.
    numbers = select(literal(first).label("number")).cte("numbers", recursive=True)
    numbers = numbers.union_all(
        select(numbers.c.number + 1).where(numbers.c.number < literal(end - 1))
    )
    rows = select(literal(study_id), numbers.c.number)
    connection.execute(insert(slots).from_select(["study_id", "number"], rows))
    return end - first


def make_rows_until(database: "Database", study: "StudyRow", number: int) -> None:
    """Make the rows of all slots before a number, in parts between which others may write."""
    while database.write(
        lambda connection: make_rows(connection, study.id, until=number), durable=False
    ):
        pass


def count_rows(connection: Connection, study_id: int) -> int:
    """Return how many slots of a study have a row: those before this number."""
    return int(connection.execute(_row_count(study_id)).scalar_one())


def rows_missing() -> ColumnElement[int]:
    """Return the SQL of how many slots of a row of the study table have no row of their own."""
    return studies.c.budget - _row_count(studies.c.id).correlate(studies).scalar_subquery()


def _row_count(study_id: int | ColumnElement[int]) -> Select[Any]:
    return select(func.coalesce(func.max(slots.c.number) + 1, 0)).where(
        slots.c.study_id == study_id
    )


def _write_budget(connection: Connection, study_id: int, total: int) -> None:
    connection.execute(update(studies).where(studies.c.id == study_id).values(budget=total))
    make_rows(connection, study_id)


def _budget(connection: Connection, study_id: int) -> int:
    query = select(studies.c.budget).where(studies.c.id == study_id)
    return int(connection.execute(query).scalar_one())


def lock_budget(connection: Connection, study_id: int) -> int:
    """Keep other transactions from changing this budget until ours ends; return it.

    Others may write the study's events and slots meanwhile.
    """
    query = select(studies.c.budget).where(studies.c.id == study_id)
    return int(connection.execute(query.with_for_update(key_share=True)).scalar_one())
