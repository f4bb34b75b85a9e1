"""Control: people pause, continue and cancel a study or one of its trials, whoever works on it.

`set_status` and `set_priority` change a study, `pause_trial`, `continue_trial` and `cancel_trial` a
slot. Workers see it at their next claim or beat: of a study that is not open nothing is claimed,
and a slot that was taken from its holder has a fresh token, so its next beat says that it is lost.
A slot ends in one way only: what comes after it is done is refused, here and there.

    set_status(database, study, "paused", worker="ann")       # "open": what it was before
    pause_trial(database, study, 7, worker="ann")             # leased or free -> free, held back
    cancel_trial(database, study, 7, worker="ann")            # -> done, its outcome 'cancelled'
"""

import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from ..database.database import Database
from ..database.dialect import database_now
from ..database.tables import events as event_rows
from ..database.tables import slots, studies
from ..errors import PriorityRefused, TrialRefused
from ..ledger import events
from ..ledger.slot import Status, StudyRow, dump, of_study
from ..projection.projection import Projection

CHANGES: Mapping[Status, events.Kind] = {
    "open": "continued",
    "paused": "paused",
    "cancelled": "cancelled",
}
"""A study's new status, and the event that tells of it."""

GREATEST_PRIORITY = 1_000_000
"""Of a study; the least is its negative."""

GREATEST_NUMBER = 2**31 - 1
"""Of a slot: what an INTEGER of PostgreSQL holds."""


def set_status(database: Database, study: StudyRow, status: Status, *, worker: str) -> Status:
    """Open, pause or cancel a study; the same again changes nothing.

    Who trains for it is not disturbed here: workers ask for the status with every beat.

    Args:
        database: Where it is.
        study: Which.
        status: What it becomes.
        worker: Who wants it, for people.

    Returns:
        What it was before.
    """
    once = f"{CHANGES[status]}:{uuid.uuid4().hex}"
    mine = studies.c.id == study.id

    def work(connection: Connection) -> Status:
        # A lock that lets others write the study's events meanwhile, and does not wait for them.
        query = select(studies.c.status).where(mine).with_for_update(key_share=True)
        present: Status = connection.execute(query).scalar_one()
        if (before := _changed_from(connection, once)) is not None:
            return before  # our commit arrived, its reply did not
        if present != status:
            connection.execute(update(studies).where(mine).values(status=status))
            entry = events.Entry(
                kind=CHANGES[status], worker=worker, once=once, detail={"before": present}
            )
            events.append(connection, study.id, entry)
        return present

    return database.write(work)


def set_priority(database: Database, study: StudyRow, priority: int) -> None:
    """Let the workers that serve several studies serve those of a lower priority after this one.

    Raises:
        PriorityRefused: If it is beyond ±GREATEST_PRIORITY.
    """
    if abs(priority) > GREATEST_PRIORITY:
        raise PriorityRefused(
            f"The study '{study.name}' cannot have the priority {priority}; expected "
            f"{-GREATEST_PRIORITY} to {GREATEST_PRIORITY}."
        )
    change = update(studies).where(studies.c.id == study.id).values(priority=priority)
    database.write(lambda connection: connection.execute(change))


def pause_trial(database: Database, study: StudyRow, number: int, *, worker: str) -> None:
    """Let nobody train a trial until it is continued; whoever does so now loses it.

    The attempt that is cut short is not counted. A trial that is paused stays so.

    Args:
        database: Where it is.
        study: Whose trial.
        number: Of its slot.
        worker: Who wants it, for people.

    Raises:
        TrialRefused: If there is no such trial, or it is done.
    """

    def paused(row: Row[Any]) -> dict[str, Any]:
        if row.state == "free":
            return {} if row.hold else {"hold": "paused"}
        back = {"state": "free", "token": _fresh_token(), "attempts": slots.c.attempts - 1}
        return {"hold": "paused", **back}

    _change(database, study, number, "paused", paused, worker=worker)


def continue_trial(database: Database, study: StudyRow, number: int, *, worker: str) -> None:
    """Let workers claim a paused trial again, as it was; otherwise as `pause_trial`."""

    def continued(row: Row[Any]) -> dict[str, Any]:
        return {"hold": None} if row.hold else {}

    _change(database, study, number, "continued", continued, worker=worker)


def cancel_trial(database: Database, study: StudyRow, number: int, *, worker: str) -> None:
    """End a trial without a result, whoever trains it; otherwise as `pause_trial`.

    Optuna is told at once; should that fail, any worker's repair does so. A trial that is cancelled
    stays so.
    """
    projection = Projection(database, study)

    def cancelled(row: Row[Any]) -> dict[str, Any]:
        if row.outcome == "cancelled":
            return {}
        return {
            "state": "done",
            "outcome": "cancelled",
            "token": _fresh_token(),
            "hold": None,
            "result": dump({}),
            "finished_at": database_now(),
        }

    _change(database, study, number, "cancelled", cancelled, worker=worker)
    projection.close_many([number])


def _change(
    database: Database,
    study: StudyRow,
    number: int,
    kind: events.Kind,
    become: Callable[[Row[Any]], Mapping[str, Any]],
    *,
    worker: str,
) -> None:
    """Change a slot that is not done, under its lock, with the event.

    Args:
        database: Where it is.
        study: Whose slot.
        number: Its number.
        kind: Of the event, which is also the word for what is done to the trial.
        become: From the row to its new columns; none of them: nothing is left to do.
        worker: Who wants it.
    """
    mine = (of_study(study.id), slots.c.number == number)

    def work(connection: Connection) -> None:
        query = select(slots).where(*mine).with_for_update()
        row = connection.execute(query).one_or_none() if 0 <= number <= GREATEST_NUMBER else None
        if row is None:
            raise _absent(connection, study, number)
        if row.state == "done" and row.outcome != kind:
            raise TrialRefused(
                f"Trial {number} of the study '{study.name}' is done ({row.outcome}) and cannot be "
                f"{kind}; name one that waits or is in training."
            )
        columns = become(row)
        if not columns:
            return
        connection.execute(update(slots).where(*mine).values(**columns))
        taken = {"taken_from": row.worker} if row.state == "leased" else {}
        entry = events.Entry(kind=kind, number=number, token=row.token, worker=worker, detail=taken)
        events.append(connection, study.id, entry)

    database.write(work)


def _fresh_token() -> str:
    """A token that no holder has: whoever held the slot has lost it."""
    return secrets.token_hex(16)


def _changed_from(connection: Connection, once: str) -> Status | None:
    """What the study was before an earlier try of this very call; None if none arrived."""
    query = select(event_rows.c.detail).where(event_rows.c.once == once)
    detail = connection.execute(query).scalar_one_or_none()
    if detail is None:
        return None
    before: Status = json.loads(detail)["before"]
    return before


def _absent(connection: Connection, study: StudyRow, number: int) -> TrialRefused:
    budget = connection.execute(select(func.count()).where(of_study(study.id))).scalar_one()
    return TrialRefused(
        f"The study '{study.name}' has no trial {number}: its {budget} trials are numbered from 0; "
        "give one of their numbers."
    )
