"""Control: people pause, continue and cancel a study or one of its trials, whoever works on it.

`set_status` and `set_priority` change a study, `pause_trial`, `continue_trial` and `cancel_trial` a
slot. Workers see it at their next claim or beat: of a study that is not open nothing is claimed,
and a slot that was taken from its holder has a fresh token, so its next beat says that it is lost.
A slot ends in one way only: what comes after it is done is refused, here and there.

    set_status(database, study, StudyStatus.PAUSED, worker="ann")    # OPEN: what it was before
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
from ..ledger.slot import SlotState, StudyRow, StudyStatus, TrialOutcome, dump_json, of_study
from ..projection.projection import Projection

STATUS_EVENTS: Mapping[StudyStatus, events.EventKind] = {
    StudyStatus.OPEN: events.EventKind.CONTINUED,
    StudyStatus.PAUSED: events.EventKind.PAUSED,
    StudyStatus.CANCELLED: events.EventKind.CANCELLED,
}
"""A study's new status, and the event that tells of it."""

MAX_PRIORITY = 1_000_000
"""Of a study; the least is its negative."""

MAX_SLOT_NUMBER = 2**31 - 1
"""Of a slot: what an INTEGER of PostgreSQL holds."""


def set_status(
    database: Database, study: StudyRow, status: StudyStatus, *, worker: str
) -> StudyStatus:
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
    idempotency_key = f"{STATUS_EVENTS[status]}:{uuid.uuid4().hex}"
    this_study = studies.c.id == study.id

    def change_status(connection: Connection) -> StudyStatus:
        # A lock that lets others write the study's events meanwhile, and does not wait for them.
        query = select(studies.c.status).where(this_study).with_for_update(key_share=True)
        current = StudyStatus(connection.execute(query).scalar_one())
        if (previous := _previous_status(connection, idempotency_key)) is not None:
            return previous  # our commit arrived, its reply did not
        if current != status:
            connection.execute(update(studies).where(this_study).values(status=status))
            entry = events.NewEvent(
                kind=STATUS_EVENTS[status],
                worker=worker,
                idempotency_key=idempotency_key,
                detail={"before": current},
            )
            events.append(connection, study.id, entry)
        return current

    return database.write(change_status)


def set_priority(database: Database, study: StudyRow, priority: int) -> None:
    """Let the workers that serve several studies serve those of a lower priority after this one.

    Raises:
        PriorityRefused: If it is beyond ±MAX_PRIORITY.
    """
    if abs(priority) > MAX_PRIORITY:
        raise PriorityRefused(
            f"The study '{study.name}' cannot have the priority {priority}; expected "
            f"{-MAX_PRIORITY} to {MAX_PRIORITY}."
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

    def paused_columns(row: Row[Any]) -> dict[str, Any]:
        if row.state == SlotState.FREE:
            return {} if row.hold else {"hold": "paused"}
        released_columns = {
            "state": SlotState.FREE,
            "token": _new_token(),
            "attempts": slots.c.attempts - 1,
        }
        return {"hold": "paused", **released_columns}

    _change_slot(database, study, number, events.EventKind.PAUSED, paused_columns, worker=worker)


def continue_trial(database: Database, study: StudyRow, number: int, *, worker: str) -> None:
    """Let workers claim a paused trial again, as it was; otherwise as `pause_trial`."""

    def continued_columns(row: Row[Any]) -> dict[str, Any]:
        return {"hold": None} if row.hold else {}

    _change_slot(
        database, study, number, events.EventKind.CONTINUED, continued_columns, worker=worker
    )


def cancel_trial(database: Database, study: StudyRow, number: int, *, worker: str) -> None:
    """End a trial without a result, whoever trains it; otherwise as `pause_trial`.

    Optuna is told at once; should that fail, any worker's repair does so. A trial that is cancelled
    stays so.
    """
    projection = Projection(database, study)

    def cancelled_columns(row: Row[Any]) -> dict[str, Any]:
        if row.outcome == TrialOutcome.CANCELLED:
            return {}
        return {
            "state": SlotState.DONE,
            "outcome": TrialOutcome.CANCELLED,
            "token": _new_token(),
            "hold": None,
            "result": dump_json({}),
            "finished_at": database_now(),
        }

    _change_slot(
        database, study, number, events.EventKind.CANCELLED, cancelled_columns, worker=worker
    )
    projection.close_many([number])


def _change_slot(
    database: Database,
    study: StudyRow,
    number: int,
    kind: events.EventKind,
    new_columns: Callable[[Row[Any]], Mapping[str, Any]],
    *,
    worker: str,
) -> None:
    """Change a slot that is not done, under its lock, with the event.

    Args:
        database: Where it is.
        study: Whose slot.
        number: Its number.
        kind: Of the event, which is also the word for what is done to the trial.
        new_columns: From the row to its new columns; none of them: nothing is left to do.
        worker: Who wants it.
    """
    this_slot = (of_study(study.id), slots.c.number == number)

    def change_row(connection: Connection) -> None:
        query = select(slots).where(*this_slot).with_for_update()
        row = connection.execute(query).one_or_none() if 0 <= number <= MAX_SLOT_NUMBER else None
        if row is None:
            raise _no_such_trial(connection, study, number)
        if row.state == SlotState.DONE and row.outcome != kind:
            raise TrialRefused(
                f"Trial {number} of the study '{study.name}' is done ({row.outcome}) and cannot be "
                f"{kind}; name one that waits or is in training."
            )
        columns = new_columns(row)
        if not columns:
            return
        connection.execute(update(slots).where(*this_slot).values(**columns))
        detail = {"taken_from": row.worker} if row.state == SlotState.LEASED else {}
        entry = events.NewEvent(
            kind=kind, number=number, token=row.token, worker=worker, detail=detail
        )
        events.append(connection, study.id, entry)

    database.write(change_row)


def _new_token() -> str:
    """A token that no holder has: whoever held the slot has lost it."""
    return secrets.token_hex(16)


def _previous_status(connection: Connection, idempotency_key: str) -> StudyStatus | None:
    """What the study was before an earlier try of this very call; None if none arrived."""
    query = select(event_rows.c.detail).where(event_rows.c.once == idempotency_key)
    detail = connection.execute(query).scalar_one_or_none()
    if detail is None:
        return None
    return StudyStatus(json.loads(detail)["before"])


def _no_such_trial(connection: Connection, study: StudyRow, number: int) -> TrialRefused:
    budget = connection.execute(select(func.count()).where(of_study(study.id))).scalar_one()
    return TrialRefused(
        f"The study '{study.name}' has no trial {number}: its {budget} trials are numbered from 0; "
        "give one of their numbers."
    )
