"""Claims: how workers lease slots, a few at a time and none twice.

Slots with widths come first: a training that was begun is finished before a new one starts, also
when nothing new can be proposed any more. There is one query over the slots with widths and one
over those without, each by the index of the slots' stages, so that a claim costs the same in a
study of a hundred trials and of a hundred thousand. Of a study that is not open nothing is claimed;
a paused slot is passed over.

Entry point: `claim`. `is_leased` and `claimable` are the conditions that other queries share.
"""

import itertools
import secrets

from sqlalchemy import Connection, Select, String, and_, cast, func, literal, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from ..database import schema_version
from ..database.database import Database
from ..database.dialect import database_now, database_started
from ..database.tables import BOUND, PAUSED_SLOTS, UNBOUND, slots, studies
from . import budget
from .events import EventKind
from .fence import Fence
from .slot import Slot, SlotState, StudyRow, StudyStatus, of_study

LEASE_SECONDS = 30.0
"""How long a claim or a beat holds a slot, unless a ledger is opened with another time."""

CLAIM_NAME_BYTES = 12
"""Of a claim's name: 24 hexadecimal digits, beside which a slot number of 8 digits fits."""


def claim(
    database: Database,
    study: StudyRow,
    fence: Fence,
    *,
    limit: int,
    worker: str,
    lease_seconds: float,
) -> list[Slot]:
    """Lease up to `limit` claimable slots, in one transaction.

    Args:
        database: Where the study is.
        study: Whose slots.
        fence: Records the claims.
        limit: 1 or more.
        worker: Name of the worker.
        lease_seconds: How long the leases last.

    Returns:
        The slots, those with widths first and then by number; none while the study is not open.

    Raises:
        SchemaMismatch: If the tables were upgraded since this worker began.
    """
    # No two claims share a name. A slot's token is the claim's name and the slot's number.
    claim_name = secrets.token_hex(CLAIM_NAME_BYTES)
    attempts = itertools.count()

    def lease_once(connection: Connection) -> list[Slot]:
        schema_version.check(connection, database.url)
        if next(attempts) and (claimed := _slots_of_claim(connection, study.id, claim_name)):
            return claimed  # our commit arrived, its reply did not
        if not _is_open(connection, study.id):
            return []
        return _lease_slots(
            connection,
            study.id,
            fence,
            claim_name=claim_name,
            limit=limit,
            worker=worker,
            lease_seconds=lease_seconds,
        )

    return database.write(lease_once, durable=False)


def is_leased() -> ColumnElement[bool]:
    """Return the SQL of slots that a worker holds, their leases not ended."""
    return and_(slots.c.state == SlotState.LEASED, slots.c.lease_until >= database_now())


def claimable(lease_seconds: float) -> ColumnElement[bool]:
    """Return the SQL of the slots that a claim takes: free, or their leases ended.

    For one lease period after a start of the server no ended lease is taken over: its holder could
    not extend it while the server was away.
    """
    now = database_now()
    expired = and_(
        slots.c.state == SlotState.LEASED,
        slots.c.lease_until < now,
        database_started() + lease_seconds < now,
    )
    return or_(and_(slots.c.state == SlotState.FREE, ~PAUSED_SLOTS), expired)


def _is_open(connection: Connection, study_id: int) -> bool:
    """Return whether slots of the study may be claimed.

    The row is not locked: a claim that is under way when the study is paused may still take its
    slots, and its holder learns of the pause as all holders do. With a lock, whoever pauses could
    wait for seconds behind a stream of claims.
    """
    query = select(studies.c.status).where(studies.c.id == study_id)
    return bool(connection.execute(query).scalar_one() == StudyStatus.OPEN)


def _lease_slots(
    connection: Connection,
    study_id: int,
    fence: Fence,
    *,
    claim_name: str,
    limit: int,
    worker: str,
    lease_seconds: float,
) -> list[Slot]:
    claimable_rows = list(
        connection.execute(_lowest_claimable(study_id, BOUND, lease_seconds, limit))
    )
    if len(claimable_rows) < limit:
        bound_rows = claimable_rows
        unbound_query = _lowest_claimable(study_id, UNBOUND, lease_seconds, limit - len(bound_rows))
        claimable_rows = [*bound_rows, *connection.execute(unbound_query)]
        if len(claimable_rows) < limit and budget.make_rows(connection, study_id):
            claimable_rows = [*bound_rows, *connection.execute(unbound_query)]
    if not claimable_rows:
        return []
    previous_workers = {
        row.number: row.worker if row.state == SlotState.LEASED else None for row in claimable_rows
    }
    rows = connection.execute(
        update(slots)
        .where(of_study(study_id), slots.c.number.in_(previous_workers))
        .values(
            state=SlotState.LEASED,
            token=_token(claim_name),
            worker=worker,
            lease_until=database_now() + lease_seconds,
            attempts=slots.c.attempts + 1,
            started_at=func.coalesce(slots.c.started_at, database_now()),
        )
        .returning(*slots.c)
    )
    leased = {row.number: Slot.from_row(row) for row in rows}
    batch = [leased[number] for number in previous_workers]
    fence.append(
        connection,
        [
            fence.new_event(EventKind.CLAIMED, slot, idempotent=True)
            if (previous_worker := previous_workers[slot.number]) is None
            else fence.new_event(
                EventKind.RECLAIMED, slot, idempotent=True, lost_by=previous_worker
            )
            for slot in batch
        ],
    )
    return batch


def _slots_of_claim(connection: Connection, study_id: int, claim_name: str) -> list[Slot]:
    """Return the slots that an earlier attempt of this claim leased, its reply lost."""
    query = (
        select(slots)
        .where(
            of_study(study_id),
            slots.c.state == SlotState.LEASED,
            slots.c.token == _token(claim_name),
        )
        .order_by(slots.c.widths_key.is_(None), slots.c.number)
    )
    return [Slot.from_row(row) for row in connection.execute(query)]


def _token(claim_name: str) -> ColumnElement[str]:
    return literal(claim_name) + cast(slots.c.number, String)


def _lowest_claimable(
    study_id: int, stage: ColumnElement[bool], lease_seconds: float, limit: int
) -> Select[tuple[int, str, str | None]]:
    """Return the SQL of the lowest claimable slots of one stage that no other claim has locked."""
    return (
        select(slots.c.number, slots.c.state, slots.c.worker)
        .where(of_study(study_id), stage, claimable(lease_seconds))
        .order_by(slots.c.number)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
