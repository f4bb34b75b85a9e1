"""Claims: how workers take slots, each a few at a time and none twice.

A slot whose widths are bound goes first: a training that was begun is finished before a new one
starts, also when nothing new can be proposed any more. Two queries, one over the begun slots and
one over the fresh ones, each by the index of the slots' stages, so that a claim costs the same in a
study of a hundred trials and of a hundred thousand.
"""

import secrets

from sqlalchemy import Connection, Select, String, and_, cast, func, literal, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from .clock import database_now, database_started
from .fence import Fence
from .slot import Slot, of_study, slot_of
from .tables import BEGUN, FRESH, slots

CLAIM_BYTES = 12
"""Of a claim's name: 96 random bits, 24 hexadecimal digits; a slot number of 8 more fits beside."""


def new_claim() -> str:
    """A name that no two claims share. A slot's token is the claim's name and the slot's number."""
    return secrets.token_hex(CLAIM_BYTES)


def take(
    connection: Connection,
    study_id: int,
    fence: Fence,
    *,
    claim: str,
    most: int,
    worker: str,
    lease_seconds: float,
) -> list[Slot]:
    """Lease up to `most` claimable slots, in the caller's transaction.

    Args:
        connection: Of a transaction that may write.
        study_id: Whose slots.
        fence: Records the claims.
        claim: As `new_claim` gives it.
        most: 1 or more.
        worker: Name of the claimant.
        lease_seconds: How long the leases last.

    Returns:
        The slots, begun ones first and then by number.
    """
    found = connection.execute(_claimable(study_id, BEGUN, lease_seconds, most)).all()
    if len(found) < most:
        fresh = _claimable(study_id, FRESH, lease_seconds, most - len(found))
        found = [*found, *connection.execute(fresh)]
    if not found:
        return []
    left_by = {row.number: row.worker if row.state == "leased" else None for row in found}
    rows = connection.execute(
        update(slots)
        .where(of_study(study_id), slots.c.number.in_(left_by))
        .values(
            state="leased",
            token=_token(claim),
            worker=worker,
            lease_until=database_now() + lease_seconds,
            attempts=slots.c.attempts + 1,
            started_at=func.coalesce(slots.c.started_at, database_now()),
        )
        .returning(*slots.c)
    )
    leased = {row.number: slot_of(row) for row in rows}
    batch = [leased[number] for number in left_by]
    fence.append(
        connection,
        [
            fence.entry("claimed", slot, once=True)
            if (before := left_by[slot.number]) is None
            else fence.entry("reclaimed", slot, once=True, lost_by=before)
            for slot in batch
        ],
    )
    return batch


def taken(connection: Connection, study_id: int, claim: str) -> list[Slot]:
    """The slots that this very claim took, where an earlier try of it arrived unnoticed."""
    query = (
        select(slots)
        .where(of_study(study_id), slots.c.state == "leased", slots.c.token == _token(claim))
        .order_by(slots.c.widths_key.is_(None), slots.c.number)
    )
    return [slot_of(row) for row in connection.execute(query)]


def _token(claim: str) -> ColumnElement[str]:
    return literal(claim) + cast(slots.c.number, String)


def _claimable(
    study_id: int, part: ColumnElement[bool], lease_seconds: float, most: int
) -> Select[tuple[int, str, str | None]]:
    """SQL: the lowest claimable slots of one part; rows that another claim has locked are skipped.

    After a restart of the server no ended lease is taken over for one lease period: its holder
    could not beat while the server was away.
    """
    now = database_now()
    ended = and_(
        slots.c.state == "leased",
        slots.c.lease_until < now,
        database_started() + lease_seconds < now,
    )
    return (
        select(slots.c.number, slots.c.state, slots.c.worker)
        .where(of_study(study_id), part, or_(slots.c.state == "free", ended))
        .order_by(slots.c.number)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
