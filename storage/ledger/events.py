"""Events: the append-only record of every change to a study's ledger.

`append` writes one inside the transaction of the change that it records, `append_all` those of a
batch; `read` gives a study's, oldest first. A transaction that is repeated because its reply
was lost names its event with `once`: the second one is not written, and the caller is told so.
"""

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from ..database.dialect import database_now, insert_for
from ..database.tables import events

if TYPE_CHECKING:
    from ..database.database import Database
    from .slot import StudyRow


class EventKind(enum.StrEnum):
    """What an event records."""

    CREATED = "created"
    EXTENDED = "extended"
    CLAIMED = "claimed"
    RECLAIMED = "reclaimed"
    BOUND = "bound"
    REFUSED = "refused"
    DONE = "done"
    FAILED = "failed"
    RELEASED = "released"
    PAUSED = "paused"
    CONTINUED = "continued"
    CANCELLED = "cancelled"
    PROJECTED = "projected"
    REPAIRED = "repaired"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change to a study's ledger.

    Attributes:
        id: Ascending in the order of writing.
        at: Seconds since the epoch by the database's clock.
        kind: What happened.
        number: The slot, where the change concerns one.
        token: The holder's fence at that moment.
        worker: The holder's name.
        detail: Anything more, by kind.
    """

    id: int
    at: float
    kind: EventKind
    number: int | None
    token: str | None
    worker: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event to be written.

    Attributes:
        kind: What happened.
        number: The slot, where there is one.
        token: The holder's fence.
        worker: The holder's name.
        idempotency_key: A name that no two events share; None for events that may recur.
        detail: Anything more that JSON can hold.
    """

    kind: EventKind
    number: int | None = None
    token: str | None = None
    worker: str | None = None
    idempotency_key: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def append(connection: Connection, study_id: int, entry: NewEvent) -> bool:
    """Write one event in the caller's transaction.

    Returns:
        Whether it was written: False when an event of the same `once` is there already.
    """
    statement = _insert_statement(connection, study_id).returning(events.c.id)
    return connection.execute(statement, _event_values(entry)).first() is not None


def append_all(connection: Connection, study_id: int, entries: Sequence[NewEvent]) -> None:
    """Write events in the caller's transaction, but for those whose `once` is there already."""
    if entries:
        connection.execute(
            _insert_statement(connection, study_id), [_event_values(entry) for entry in entries]
        )


def read(database: "Database", study: "StudyRow", *, last: int | None = None) -> list[Event]:
    """The events of a study, oldest first: all of them, or so many of the newest."""
    newest = select(events).where(events.c.study_id == study.id).order_by(events.c.id.desc())
    query = newest.limit(last)
    rows = reversed(database.read(lambda connection: connection.execute(query).all()))
    return [
        Event(
            id=row.id,
            at=row.at,
            kind=EventKind(row.kind),
            number=row.number,
            token=row.token,
            worker=row.worker,
            detail=json.loads(row.detail),
        )
        for row in rows
    ]


def _insert_statement(connection: Connection, study_id: int) -> postgresql.Insert | sqlite.Insert:
    statement = insert_for(connection, events).values(study_id=study_id, at=database_now())
    return statement.on_conflict_do_nothing(index_elements=[events.c.once])


def _event_values(entry: NewEvent) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "number": entry.number,
        "token": entry.token,
        "worker": entry.worker,
        "once": entry.idempotency_key,
        "detail": json.dumps(dict(entry.detail)),
    }
