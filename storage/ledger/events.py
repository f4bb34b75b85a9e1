"""Events: the append-only record of every change to a study's ledger.

`append` writes one inside the transaction of the change that it records, `append_all` those of a
batch; `read` returns a study's, oldest first, `find` one by its idempotency key. A transaction that
is repeated because its reply was lost gives its event such a key: the event is not written a second
time, and `append` says so.
"""

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, Row, select
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
    CLOSED = "closed"
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
    UNTRAINED = "untrained"
    WARNING = "warning"
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
        token: The holder's token at that moment.
        worker: The holder's name.
        detail: Further facts, by kind.
    """

    id: int
    at: float
    kind: EventKind
    number: int | None
    token: str | None
    worker: str | None
    detail: Mapping[str, Any]

    @classmethod
    def from_row(cls, row: Row[Any]) -> Self:
        """Return a row of the event table as an event."""
        return cls(
            id=row.id,
            at=row.at,
            kind=EventKind(row.kind),
            number=row.number,
            token=row.token,
            worker=row.worker,
            detail=json.loads(row.detail),
        )


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event to be written.

    Attributes:
        kind: What happened.
        number: The slot, where the change concerns one.
        token: The holder's token.
        worker: The holder's name.
        idempotency_key: Unique among all events; None for events that may recur.
        detail: Further facts, as JSON can write them.
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
        Whether it was written: False if an event with its idempotency key exists.
    """
    statement = _insert_statement(connection, study_id).returning(events.c.id)
    return connection.execute(statement, _event_values(entry)).first() is not None


def append_all(connection: Connection, study_id: int, entries: Sequence[NewEvent]) -> None:
    """Write events in the caller's transaction, but for those whose idempotency key exists."""
    if entries:
        connection.execute(
            _insert_statement(connection, study_id), [_event_values(entry) for entry in entries]
        )


def find(connection: Connection, idempotency_key: str) -> dict[str, Any] | None:
    """Return the detail of the event with an idempotency key; None where there is none."""
    query = select(events.c.detail).where(events.c.once == idempotency_key)
    detail = connection.execute(query).scalar_one_or_none()
    return None if detail is None else dict(json.loads(detail))


def read(database: "Database", study: "StudyRow", *, last: int | None = None) -> list[Event]:
    """Return the events of a study, oldest first: all, or the `last` newest."""
    newest = select(events).where(events.c.study_id == study.id).order_by(events.c.id.desc())
    query = newest.limit(last)
    rows = reversed(database.read(lambda connection: connection.execute(query).all()))
    return [Event.from_row(row) for row in rows]


def warnings(database: "Database", study: "StudyRow", *, after: int = 0) -> list[Event]:
    """Return the warnings of a study's workers, oldest first: `detail["warning"]` is a sentence.

    Args:
        database: Where they are.
        study: The study.
        after: Id of an event; those up to it are left out.
    """
    query = (
        select(events)
        .where(
            events.c.study_id == study.id, events.c.id > after, events.c.kind == EventKind.WARNING
        )
        .order_by(events.c.id)
    )
    return [
        Event.from_row(row)
        for row in database.read(lambda connection: connection.execute(query).all())
    ]


def untrained_key(study: "StudyRow") -> str:
    """Return the idempotency key of the event that ends a study which learns nothing."""
    return f"{EventKind.UNTRAINED}:{study.id}"


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
