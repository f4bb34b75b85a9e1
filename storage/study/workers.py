"""Workers that run, for people to see; nothing of the ledger depends on them.

A worker registers with every sign of life and unregisters when it ends; `list_workers` reads. The
leases alone decide about slots: a worker may be missing here and still hold some.

    registration = WorkerRegistration(database, name="host:4711", beat_seconds=10.0)
    registration.register(study=None, activity=WorkerActivity.STARTING, device=None)
    registration.register(study=study, activity=WorkerActivity.TRAINING, device="cpu")
    registration.unregister()
"""

import enum
import os
import socket
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Self, final

from sqlalchemy import Connection, Row, and_, case, delete, func, select, update

from ..database.database import Database
from ..database.dialect import database_now, insert_for
from ..database.tables import slots, studies, workers
from ..errors import StorageUnreachable
from ..ledger.slot import SlotState, StudyRow

MAX_MISSED_BEATS = 3.0
"""After so many beats without a sign of life a worker counts as dead."""

EXPIRY_SECONDS = 86_400.0
"""After so long without a sign of life, a day, a worker's row is deleted."""

UNREGISTER_SECONDS = 2.0
"""How long a worker that ends retries to unregister: less than the time it has to end."""


class WorkerActivity(enum.StrEnum):
    """What a worker does."""

    STARTING = "starting"
    TRAINING = "training"
    WAITING = "waiting"


@dataclass(frozen=True, kw_only=True)
class WorkerRow:
    """A worker as others see it.

    Attributes:
        name: Unique in the database; the same as in its slots.
        host: The machine where it runs.
        pid: Its process on that machine.
        device: What it trains on, None until that is known.
        study: Name of the study that it serves now.
        activity: What it does.
        trials: Numbers of the slots of that study that are leased to it, ascending; their leases
            may have ended.
        version: Its release of Widthwise.
        age_seconds: Since its last sign of life, by the database's clock.
        alive: Whether it missed no more than three beats.
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

    @classmethod
    def from_row(cls, row: Row[Any], trials: Iterable[int]) -> Self:
        """Return a row of `list_workers`' query as a worker.

        Args:
            row: The worker table's columns, with "study" and "age".
            trials: Numbers of its slots.
        """
        return cls(
            name=row.name,
            host=row.host,
            pid=row.pid,
            device=row.device,
            study=row.study,
            activity=WorkerActivity(row.activity),
            trials=tuple(sorted(trials)),
            version=row.version,
            age_seconds=max(0.0, row.age),
            alive=row.age <= MAX_MISSED_BEATS * row.beat_seconds,
        )


@final
class WorkerRegistration:
    """One worker's row in the worker table."""

    def __init__(self, database: Database, *, name: str, beat_seconds: float) -> None:
        """Prepare a registration; nothing is written before the first `register`.

        Args:
            database: Where the worker registers.
            name: Of the worker, the same as its ledger's.
            beat_seconds: The longest time between two calls of `register`.
        """
        self._database = database
        self._name = name
        self._beat_seconds = beat_seconds

    def register(
        self, *, study: StudyRow | None, activity: WorkerActivity, device: str | None
    ) -> None:
        """Record that the worker lives, and what it does; delete workers not seen for a day.

        Args:
            study: The study that it serves now.
            activity: What it does.
            device: What it trains on; None leaves what is known of that.
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
            # A trainer that starts announces it first (`announce_device`).
            updates["device"] = func.coalesce(excluded.device, workers.c.device)
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=updates))
            _delete_expired(connection)

        self._database.write(upsert_row, durable=False)

    def unregister(self) -> None:
        """Delete the worker's row; if the database is away, others delete it after a day."""
        statement = delete(workers).where(workers.c.name == self._name)
        try:
            self._database.write(
                lambda connection: connection.execute(statement),
                durable=False,
                seconds=UNREGISTER_SECONDS,
            )
        except StorageUnreachable:
            return


def announce_device(database: Database, name: str, device: str) -> None:
    """Record what a registered worker trains on, before it says what it does there."""
    statement = update(workers).where(workers.c.name == name).values(device=device)
    database.write(lambda connection: connection.execute(statement), durable=False)


def list_workers(database: Database) -> list[WorkerRow]:
    """Return every worker that was seen within a day and did not unregister, by name."""
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
    return [WorkerRow.from_row(row, trials[row.study_id, row.name]) for row in rows]


def _delete_expired(connection: Connection) -> None:
    """Delete the rows of workers that were not seen for a day."""
    expired = (
        select(workers.c.name)
        .where(workers.c.seen_at < database_now() - EXPIRY_SECONDS)
        .with_for_update(skip_locked=True)  # else two that delete the same rows could deadlock
    )
    connection.execute(delete(workers).where(workers.c.name.in_(expired)))
