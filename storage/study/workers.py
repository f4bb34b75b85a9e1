"""Workers: who is there, as people see it. Nothing of the ledger depends on it.

A worker announces itself with every sign of life, and leaves when it ends; `list_workers` reads.
The leases alone decide about slots: a worker may be silent here and still hold some.

    presence = WorkerRegistration(database, name="host:4711", beat_seconds=10.0)
    presence.register(study=None, activity=WorkerActivity.STARTING, device=None)
    presence.register(study=study, activity=WorkerActivity.TRAINING, device="cpu")
    presence.unregister()
"""

import enum
import os
import socket
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from typing import final

from sqlalchemy import Connection, and_, case, delete, select

from ..database.database import Database
from ..database.dialect import database_now, insert_for
from ..database.tables import slots, studies, workers
from ..errors import StorageUnreachable
from ..ledger.slot import SlotState, StudyRow

MAX_MISSED_BEATS = 3.0
"""So many beats without a sign of life, and a worker counts as dead."""

EXPIRY_SECONDS = 86_400.0
"""A worker without a sign of life for so long, a day, is forgotten."""

UNREGISTER_SECONDS = 2.0
"""How long a worker that ends tries to say so: less than it is given to end."""


class WorkerActivity(enum.StrEnum):
    """What a worker does."""

    STARTING = "starting"
    TRAINING = "training"
    WAITING = "waiting"


@dataclass(frozen=True, kw_only=True)
class WorkerRow:
    """A worker as others see it.

    Attributes:
        name: Unique in the database; the one that its slots bear.
        host: Where it runs.
        pid: Its process there.
        device: What it trains on, None until it knows.
        study: Name of the study that it serves now.
        activity: What it does.
        trials: Numbers of the slots of that study that it was the last to claim and has not given
            back, ascending.
        version: Its release of Widthwise.
        age_seconds: Since its last sign of life, by the database's clock.
        alive: Whether it missed no more than three signs of life.
    """

    name: str
    host: str
    pid: int
    device: str | None
    study: str | None
    activity: WorkerActivity
    trials: tuple[int, ...]
    version: str
    age_seconds: float
    alive: bool


@final
class WorkerRegistration:
    """One worker's signs of life."""

    def __init__(self, database: Database, *, name: str, beat_seconds: float) -> None:
        """Nothing is written before the first `register`.

        Args:
            database: Where the worker is announced.
            name: Of the worker, the same as its ledger's.
            beat_seconds: The longest that it means to be silent.
        """
        self._database = database
        self._name = name
        self._beat_seconds = beat_seconds

    def register(
        self, *, study: StudyRow | None, activity: WorkerActivity, device: str | None
    ) -> None:
        """Say that the worker lives, and what it does; forget those not seen for a day.

        Args:
            study: That it serves now.
            activity: What it does.
            device: What it trains on, where that is known.
        """
        now = database_now()
        values = {
            "name": self._name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "device": device,
            "study_id": None if study is None else study.id,
            "activity": activity,
            "version": version("widthwise"),
            "started_at": now,
            "seen_at": now,
            "beat_seconds": self._beat_seconds,
        }

        def upsert_row(connection: Connection) -> None:
            insert = insert_for(connection, workers).values(**values)
            excluded = insert.excluded
            same_process = and_(workers.c.host == excluded.host, workers.c.pid == excluded.pid)
            started_at = case((same_process, workers.c.started_at), else_=excluded.started_at)
            updates = {**{name: excluded[name] for name in values}, "started_at": started_at}
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=updates))
            _delete_expired(connection)

        self._database.write(upsert_row, durable=False)

    def unregister(self) -> None:
        """Say that the worker has ended. Where the database is away its row grows old by itself."""
        statement = delete(workers).where(workers.c.name == self._name)
        try:
            self._database.write(
                lambda connection: connection.execute(statement),
                durable=False,
                seconds=UNREGISTER_SECONDS,
            )
        except StorageUnreachable:
            return


def list_workers(database: Database) -> list[WorkerRow]:
    """Every worker that was seen within a day and did not leave, by name."""
    age = database_now() - workers.c.seen_at
    registered = (
        select(workers, studies.c.name.label("study"), age.label("age"))
        .outerjoin(studies, studies.c.id == workers.c.study_id)
        .order_by(workers.c.name)
    )
    served_studies = select(workers.c.study_id).where(workers.c.study_id.is_not(None))
    leased_slots = select(slots.c.study_id, slots.c.worker, slots.c.number).where(
        slots.c.study_id.in_(served_studies), slots.c.state == SlotState.LEASED
    )
    rows, leased_rows = database.read(
        lambda connection: (
            connection.execute(registered).all(),
            connection.execute(leased_slots).all(),
        )
    )
    trials = defaultdict[tuple[int, str | None], list[int]](list)
    for study_id, worker, number in leased_rows:
        trials[study_id, worker].append(number)
    return [
        WorkerRow(
            name=row.name,
            host=row.host,
            pid=row.pid,
            device=row.device,
            study=row.study,
            activity=WorkerActivity(row.activity),
            trials=tuple(sorted(trials[row.study_id, row.name])),
            version=row.version,
            age_seconds=max(0.0, row.age),
            alive=row.age <= MAX_MISSED_BEATS * row.beat_seconds,
        )
        for row in rows
    ]


def _delete_expired(connection: Connection) -> None:
    """Delete the rows of workers that were not seen for a day."""
    expired = (
        select(workers.c.name)
        .where(workers.c.seen_at < database_now() - EXPIRY_SECONDS)
        .with_for_update(skip_locked=True)  # else two who forget the same would wait in a circle
    )
    connection.execute(delete(workers).where(workers.c.name.in_(expired)))
