"""Control: people pause, continue and cancel a study or one of its trials while workers train.

`set_status` and `set_priority` change a study, `pause_trial`, `continue_trial` and `cancel_trial` a
slot. Workers notice at their next claim or beat: of a study that is not open nothing is claimed,
and a slot that was taken from its holder has a fresh token, so the holder's next beat returns it as
lost. A slot ends only once: whatever comes after it is done is refused, a result or a command.

    set_status(database, study, StudyStatus.PAUSED, worker="ann")    # returns the status before
    pause_trial(database, study, 7, worker="ann")    # leased or free -> free, not to be claimed
    cancel_trial(database, study, 7, worker="ann")   # -> done, its outcome CANCELLED
"""

import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, select, update

from ..database.database import Database
from ..database.dialect import database_now
from ..database.tables import events as event_rows
from ..database.tables import slots, studies
from ..errors import PriorityRefused, TrialRefused
from ..ledger import events
from ..ledger.budget import MAX_BUDGET, make_rows_until
from ..ledger.slot import SlotState, StudyRow, StudyStatus, TrialOutcome, dump_json, of_study
from ..projection.projection import Projection

STATUS_EVENTS: Mapping[StudyStatus, events.EventKind] = {
    StudyStatus.OPEN: events.EventKind.CONTINUED,
    StudyStatus.PAUSED: events.EventKind.PAUSED,
    StudyStatus.CANCELLED: events.EventKind.CANCELLED,
}
"""A study's new status, and the event that records it."""

MAX_PRIORITY = 1_000_000
"""Of a study; the least is its negative."""

MAX_SLOT_NUMBER = 2**31 - 1
"""Of a slot: what an INTEGER of PostgreSQL holds."""


def set_status(
    database: Database, study: StudyRow, status: StudyStatus, *, worker: str
) -> StudyStatus:
    """Open, pause or cancel a study; the same again changes nothing.

    No slot is changed: workers read the status with every beat.

    Args:
        database: Where it is.
        study: The study.
        status: Its new status.
        worker: Who gives the command, for people.

    Returns:
        Its status before.
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

    previous_status = database.write(change_status)
    # What dead workers left shows as what it is from now on.
    Projection(database, study).repair()
    return previous_status


def set_priority(database: Database, study: StudyRow, priority: int) -> None:
    """Set the priority by which workers that serve several studies choose the next one.

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


def pause_trial(database: Database, study: StudyRow, number: int, *, worker: str) -> bool:
    """Keep workers from training a trial until it is continued; one that trains it loses it.

    The attempt that is cut short is not counted. A paused trial stays paused.

    Args:
        database: Where it is.
        study: Whose trial.
        number: Of its slot.
        worker: Who gives the command, for people.

    Returns:
        Whether that changed anything.

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

    projection = Projection(database, study)
    changed = _change_slot(
        database, study, number, events.EventKind.PAUSED, paused_columns, worker=worker
    )
    projection.repair()
    return changed


def continue_trial(database: Database, study: StudyRow, number: int, *, worker: str) -> bool:
    """Let workers claim a paused trial again; all else is as in `pause_trial`."""

    def continued_columns(row: Row[Any]) -> dict[str, Any]:
        return {"hold": None} if row.hold else {}

    return _change_slot(
        database, study, number, events.EventKind.CONTINUED, continued_columns, worker=worker
    )


def cancel_trial(database: Database, study: StudyRow, number: int, *, worker: str) -> bool:
    """End a trial without a result, also one in training.

    Optuna's trial is ended at once; if that fails, the next worker's repair does it. A cancelled
    trial stays cancelled. All else is as in `pause_trial`.
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

    changed = _change_slot(
        database, study, number, events.EventKind.CANCELLED, cancelled_columns, worker=worker
    )
    projection.close_many([number])
    return changed


def _change_slot(
    database: Database,
    study: StudyRow,
    number: int,
    kind: events.EventKind,
    new_columns: Callable[[Row[Any]], Mapping[str, Any]],
    *,
    worker: str,
) -> bool:
    """Change a slot that is not done, under its lock, and record the event; return if changed.

    Args:
        database: Where it is.
        study: Whose slot.
        number: Its number.
        kind: Of the event; its value is also the word for the command in messages.
        new_columns: From the row to its new columns; empty if there is nothing to change.
        worker: Who gives the command.
    """
    this_slot = (of_study(study.id), slots.c.number == number)

    def change_row(connection: Connection) -> bool:
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
            return False
        connection.execute(update(slots).where(*this_slot).values(**columns))
        detail = {"taken_from": row.worker} if row.state == SlotState.LEASED else {}
        entry = events.NewEvent(
            kind=kind, number=number, token=row.token, worker=worker, detail=detail
        )
        events.append(connection, study.id, entry)
        return True

    if 0 <= number < MAX_BUDGET:
        make_rows_until(database, study, number + 1)
    return database.write(change_row)


def _new_token() -> str:
    """Return a token that no holder has, by which the present holder loses the slot."""
    return secrets.token_hex(16)


def _previous_status(connection: Connection, idempotency_key: str) -> StudyStatus | None:
    """Return the status before an earlier attempt of this call; None if none arrived."""
    query = select(event_rows.c.detail).where(event_rows.c.once == idempotency_key)
    detail = connection.execute(query).scalar_one_or_none()
    if detail is None:
        return None
    return StudyStatus(json.loads(detail)["before"])


def _no_such_trial(connection: Connection, study: StudyRow, number: int) -> TrialRefused:
    query = select(studies.c.budget).where(studies.c.id == study.id)
    budget = connection.execute(query).scalar_one()
    return TrialRefused(
        f"The study '{study.name}' has no trial {number}: its {budget} trials are numbered from 0; "
        "give one of their numbers."
    )
