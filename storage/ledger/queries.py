"""The census: what a study's ledger holds at this moment, read without a lease.

Every function is one named query on the slots of one study.
"""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import func, literal, null, select, union_all

from ..database.database import Database
from ..database.dialect import database_now, database_started
from ..database.tables import PAUSED_SLOTS, UNBOUND, slots, studies
from .slot import (
    SlotCounts,
    SlotRecord,
    SlotState,
    StudyRow,
    StudyStatus,
    TrialOutcome,
    load_json,
    of_study,
)

RUNNING = "running"
PAUSED = "paused"


def counts(database: Database, study: StudyRow) -> SlotCounts:
    """How many slots are in which condition."""
    in_study = of_study(study.id)
    settled = (
        select(slots.c.state, slots.c.outcome, func.count())
        .where(in_study)
        .group_by(slots.c.state, slots.c.outcome)
    )
    # One statement, so that all parts see the same moment; the first part reads only an index.
    running = select(literal(RUNNING), null(), func.count()).where(
        in_study, slots.c.state == SlotState.LEASED, slots.c.lease_until >= database_now()
    )
    paused = select(literal(PAUSED), null(), func.count()).where(in_study, PAUSED_SLOTS)
    query = union_all(settled, running, paused)
    rows = database.read(lambda connection: connection.execute(query).all())
    totals: Counter[str] = Counter()
    for state, outcome, number in rows:
        totals[_condition(state, outcome)] += number
    totals["waiting"] -= totals[RUNNING]
    names = ("complete", RUNNING, "failed", "pruned", "waiting", PAUSED)
    return SlotCounts(**{name: totals[name] for name in names})


def _condition(state: str, outcome: str | None) -> str:
    if outcome is not None:
        return TrialOutcome(outcome).count_name
    return state if state in (RUNNING, PAUSED) else "waiting"


def open_slots(database: Database, study: StudyRow) -> int:
    """Slots that are not done."""
    query = select(func.count()).where(of_study(study.id), slots.c.state != SlotState.DONE)
    return database.read(lambda connection: connection.execute(query).scalar_one())


def unbound(database: Database, study: StudyRow) -> int:
    """Slots that are not done and have no widths yet."""
    query = select(func.count()).where(of_study(study.id), UNBOUND)
    return database.read(lambda connection: connection.execute(query).scalar_one())


def seconds_until_claimable(
    database: Database, study: StudyRow, lease_seconds: float
) -> float | None:
    """Seconds until a leased slot may be claimed: 0 if one may be now, None without leases."""
    query = select(
        func.min(slots.c.lease_until) - database_now(),
        database_started() + lease_seconds - database_now(),
    ).where(of_study(study.id), slots.c.state == SlotState.LEASED)
    remaining, restart_grace = database.read(lambda connection: connection.execute(query).one())
    return None if remaining is None else max(float(remaining), float(restart_grace), 0.0)


def record(database: Database, study: StudyRow, number: int) -> SlotRecord:
    """One slot as it is now."""
    query = select(slots).where(of_study(study.id), slots.c.number == number)
    return SlotRecord.from_row(database.read(lambda connection: connection.execute(query).one()))


def records(database: Database, study: StudyRow) -> list[SlotRecord]:
    """All slots by number."""
    query = select(slots).where(of_study(study.id)).order_by(slots.c.number)
    rows = database.read(lambda connection: connection.execute(query).all())
    return [SlotRecord.from_row(row) for row in rows]


def leased(database: Database, study: StudyRow) -> list[SlotRecord]:
    """The slots that a worker holds now, by number: their leases have not ended."""
    # Put in order here: asked to do so SQLite reads the whole study in that order.
    query = select(slots).where(
        of_study(study.id), slots.c.state == SlotState.LEASED, slots.c.lease_until >= database_now()
    )
    rows = database.read(lambda connection: connection.execute(query).all())
    return sorted((SlotRecord.from_row(row) for row in rows), key=lambda record: record.number)


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
            slots.c.state == SlotState.DONE,
            slots.c.outcome == TrialOutcome.OUT_OF_MEMORY,
            slots.c.widths.is_not(None),
        )
        .order_by(slots.c.number)
    )
    rows = database.read(lambda connection: connection.execute(query).all())
    return [
        (load_json(row.widths) or {}, (load_json(row.result) or {}).get("device_class"))
        for row in rows
    ]


def status_of(database: Database, study: StudyRow) -> StudyStatus:
    """Whether a study is open, paused or cancelled at this moment."""
    query = select(studies.c.status).where(studies.c.id == study.id)
    return StudyStatus(database.read(lambda connection: connection.execute(query).scalar_one()))
