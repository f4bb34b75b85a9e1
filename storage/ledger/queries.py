"""The census: what a study's ledger holds at this moment, read without a lease.

Every function is one named query on the slots of one study.
"""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import func, literal, null, select, union_all

from ..database.database import Database
from ..database.dialect import database_now, database_started
from ..database.tables import FRESH, HELD, STOPPED, slots, studies
from .slot import Counts, Record, Status, StudyRow, load, of_study, record_of

RUNNING = "running"
PAUSED = "paused"


def counts(database: Database, study: StudyRow) -> Counts:
    """How many slots are in which condition."""
    mine = of_study(study.id)
    settled = (
        select(slots.c.state, slots.c.outcome, func.count())
        .where(mine)
        .group_by(slots.c.state, slots.c.outcome)
    )
    # One statement, so that all parts see the same moment; the first part reads only an index.
    running = select(literal(RUNNING), null(), func.count()).where(
        mine, slots.c.state == "leased", slots.c.lease_until >= database_now()
    )
    paused = select(literal(PAUSED), null(), func.count()).where(mine, HELD)
    query = union_all(settled, running, paused)
    rows = database.read(lambda connection: connection.execute(query).all())
    found: Counter[str] = Counter()
    for state, outcome, number in rows:
        found[_condition(state, outcome)] += number
    found["waiting"] -= found[RUNNING]
    names = ("complete", RUNNING, "failed", "pruned", "waiting", PAUSED)
    return Counts(**{name: found[name] for name in names})


def _condition(state: str, outcome: str | None) -> str:
    if state == "done":
        return {"complete": "complete", **dict.fromkeys(STOPPED, "pruned")}.get(
            outcome or "", "failed"
        )
    return state if state in (RUNNING, PAUSED) else "waiting"


def open_slots(database: Database, study: StudyRow) -> int:
    """Slots that are not done."""
    query = select(func.count()).where(of_study(study.id), slots.c.state != "done")
    return database.read(lambda connection: connection.execute(query).scalar_one())


def unbound(database: Database, study: StudyRow) -> int:
    """Slots that are not done and have no widths yet."""
    query = select(func.count()).where(of_study(study.id), FRESH)
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
    # Put in order here: asked to do so SQLite reads the whole study in that order.
    query = select(slots).where(
        of_study(study.id), slots.c.state == "leased", slots.c.lease_until >= database_now()
    )
    rows = database.read(lambda connection: connection.execute(query).all())
    return sorted((record_of(row) for row in rows), key=lambda record: record.number)


def out_of_memory(
    database: Database, study: StudyRow
) -> list[tuple[Mapping[str, int], str | None]]:
    """What ran out of memory, by number: the widths, and the class of the device where it is known.

    The class is the `device_class` of the slot's result.
    """
    query = (
        select(slots.c.widths, slots.c.result)
        .where(
            of_study(study.id),
            slots.c.state == "done",
            slots.c.outcome == "out_of_memory",
            slots.c.widths.is_not(None),
        )
        .order_by(slots.c.number)
    )
    rows = database.read(lambda connection: connection.execute(query).all())
    return [(load(row.widths) or {}, (load(row.result) or {}).get("device_class")) for row in rows]


def status_of(database: Database, study: StudyRow) -> Status:
    """Whether a study is open, paused or cancelled at this moment."""
    query = select(studies.c.status).where(studies.c.id == study.id)
    return database.read(lambda connection: connection.execute(query).scalar_one())
