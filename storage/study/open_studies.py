"""The open studies, from which a scheduler chooses the one that a worker serves next.

Entry point: `open_studies`, one query whose cost does not grow with the studies' trials.
"""

from dataclasses import dataclass

from sqlalchemy import ScalarSelect, func, literal, or_, select

from ..database.database import Database
from ..database.tables import BOUND, UNBOUND, events, slots, studies
from ..ledger.budget import rows_missing
from ..ledger.claim import LEASE_SECONDS, claimable, is_leased
from ..ledger.events import EventKind
from ..ledger.slot import StudyRow, StudyStatus

MAX_COUNTED_SLOTS = 250
"""Claimable slots of a study are counted up to here, so that the query's cost is bounded."""


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """An open study with what its priority depends on.

    Attributes:
        study: The study.
        claimable: Number of slots that a claim would take now, up to `MAX_COUNTED_SLOTS`.
        running: Number of slots whose leases have not ended.
        last_claim: Time of its newest claim by the database's clock; None without one.
    """

    study: StudyRow
    claimable: int
    running: int
    last_claim: float | None


def open_studies(database: Database, *, lease_seconds: float = LEASE_SECONDS) -> list[OpenStudy]:
    """Return the open studies by priority, then the longest without a claim, then the oldest.

    Args:
        database: Where they are stored.
        lease_seconds: Of the ledger that would claim.
    """
    last_claim = _select_last_claim().label("last_claim")
    query = (
        select(
            studies,
            _count_claimable(lease_seconds).label("claimable"),
            _count_running().label("running"),
            rows_missing().label("unmade"),
            last_claim,
        )
        .where(studies.c.status == StudyStatus.OPEN)
        .order_by(studies.c.priority.desc(), last_claim.asc().nulls_first(), studies.c.id)
    )
    rows = database.read(lambda connection: connection.execute(query).all())
    return [
        OpenStudy(
            study=StudyRow.from_row(row),
            claimable=min(row.claimable + row.unmade, MAX_COUNTED_SLOTS),
            running=row.running,
            last_claim=row.last_claim,
        )
        for row in rows
    ]


def _count_claimable(lease_seconds: float) -> ScalarSelect[int]:
    """Return the SQL of the number of claimable slots of a study."""
    claimable_slots = (
        select(literal(1))
        .where(slots.c.study_id == studies.c.id, or_(BOUND, UNBOUND), claimable(lease_seconds))
        .limit(MAX_COUNTED_SLOTS)
        .correlate(studies)
        .subquery()
    )
    return select(func.count()).select_from(claimable_slots).scalar_subquery()


def _count_running() -> ScalarSelect[int]:
    """Return the SQL of the number of slots of a study whose leases have not ended."""
    query = select(func.count()).where(slots.c.study_id == studies.c.id, is_leased())
    return query.correlate(studies).scalar_subquery()


def _select_last_claim() -> ScalarSelect[float]:
    """Return the SQL of the time of a study's newest claim, searched backwards."""
    return (
        select(events.c.at)
        .where(
            events.c.study_id == studies.c.id,
            events.c.kind.in_((EventKind.CLAIMED, EventKind.RECLAIMED)),
        )
        .order_by(events.c.id.desc())
        .limit(1)
        .correlate(studies)
        .scalar_subquery()
    )
