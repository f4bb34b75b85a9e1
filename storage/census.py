"""The census: what a study's ledger holds at this moment, read without a lease.

Every function is one named query on the slots of one study.
"""

from collections.abc import Mapping

from sqlalchemy import and_, case, func, select

from .clock import database_now, database_started
from .database import Database
from .row import StudyRow
from .slot import Counts, Record, load, of_study, record_of
from .tables import STOPPED, slots


def counts(database: Database, study: StudyRow) -> Counts:
    """How many slots are in which condition."""
    running = and_(slots.c.state == "leased", slots.c.lease_until >= database_now())
    condition = case(
        (running, "running"),
        (slots.c.outcome == "complete", "complete"),
        (slots.c.outcome.in_(STOPPED), "pruned"),
        (slots.c.state == "done", "failed"),
        else_="waiting",
    ).label("condition")
    inner = select(condition).where(of_study(study.id)).subquery()
    query = select(inner.c.condition, func.count()).group_by(inner.c.condition)
    rows = database.read(lambda connection: connection.execute(query).all())
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    names = ("complete", "running", "failed", "pruned", "waiting")
    return Counts(**{name: found.get(name, 0) for name in names})


def open_slots(database: Database, study: StudyRow) -> int:
    """Slots that are not done."""
    query = select(func.count()).where(of_study(study.id), slots.c.state != "done")
    return database.read(lambda connection: connection.execute(query).scalar_one())


def oldest_lease(database: Database, study: StudyRow, lease_seconds: float) -> float | None:
    """Seconds until a leased slot may be claimed: 0 if one may be now, None without leases."""
    query = select(
        func.min(slots.c.lease_until) - database_now(),
        database_started() + lease_seconds - database_now(),
    ).where(of_study(study.id), slots.c.state == "leased")
    left, grace = database.read(lambda connection: connection.execute(query).one())
    return None if left is None else max(float(left), float(grace), 0.0)


def record(database: Database, study: StudyRow, number: int) -> Record:
    """One slot as it is now."""
    query = select(slots).where(of_study(study.id), slots.c.number == number)
    return record_of(database.read(lambda connection: connection.execute(query).one()))


def records(database: Database, study: StudyRow) -> list[Record]:
    """All slots by number."""
    query = select(slots).where(of_study(study.id)).order_by(slots.c.number)
    rows = database.read(lambda connection: connection.execute(query).all())
    return [record_of(row) for row in rows]


def held(database: Database, study: StudyRow) -> list[Record]:
    """The slots that a worker holds now, by number: their leases have not ended."""
    query = (
        select(slots)
        .where(of_study(study.id), slots.c.state == "leased", slots.c.lease_until >= database_now())
        .order_by(slots.c.number)
    )
    rows = database.read(lambda connection: connection.execute(query).all())
    return [record_of(row) for row in rows]


def bound_widths(database: Database, study: StudyRow) -> list[Mapping[str, int]]:
    """The widths of every slot that has some, by number."""
    query = (
        select(slots.c.widths)
        .where(of_study(study.id), slots.c.widths.is_not(None))
        .order_by(slots.c.number)
    )
    rows = database.read(lambda connection: connection.execute(query).scalars().all())
    return [widths for widths in map(load, rows) if widths is not None]
