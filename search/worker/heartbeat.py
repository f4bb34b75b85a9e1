"""Heartbeats: threads that keep the leases of slots in training, and announce the worker.

With every beat the lease heartbeat also reads the study's status, so that a pause or a cancellation
reaches the training within a beat.

Entry points: `LeaseHeartbeat`, `WorkerHeartbeat`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import final

from ...storage.database.database import Database
from ...storage.errors import StorageError, StorageGone
from ...storage.ledger.ledger import Ledger, Slot
from ...storage.ledger.slot import StudyRow, StudyStatus
from ...storage.study.workers import WorkerActivity, WorkerRegistration

_log = logging.getLogger(__name__)

# Beats in one lease: two may be lost before the third is late.
BEATS_PER_LEASE = 3


class LeaseHeartbeat:
    """Extends the leases of slots until the block ends, and watches what interrupts their training.

    Example:
        ```python
        with LeaseHeartbeat(ledger, slots, 30.0, stop) as watch:
            for epoch in range(20):
                ...                      # train
                watch.lost()             # numbers of the slots that another worker may hold now
                watch.stop_requested()   # the study is not open any more, or `stop()` says so
        ```
    """

    def __init__(
        self,
        ledger: Ledger,
        slots: Sequence[Slot],
        lease_seconds: float,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare; the first beat is a third of a lease after the block began.

        Args:
            ledger: Of the study.
            slots: As claimed.
            lease_seconds: How long a beat holds them.
            stop: Whether this worker was asked to stop.
        """
        self._ledger, self._slots = ledger, list(slots)
        self._interval_seconds = lease_seconds / BEATS_PER_LEASE
        self._stop = stop
        self._stop_event = threading.Event()
        self._lost: frozenset[int] = frozenset()
        self._last_status = StudyStatus.OPEN
        self._storage_gone: StorageGone | None = None
        self._thread = threading.Thread(target=self._beat, name="lease heartbeat", daemon=True)

    def __enter__(self) -> LeaseHeartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop_event.set()
        self._thread.join()

    def lost(self) -> frozenset[int]:
        """Return the slots whose leases were lost; what is computed for them is refused."""
        return self._lost

    def stop_requested(self) -> bool:
        """Return whether to give all slots back: a stop, or the study is paused or cancelled.

        Raises:
            StorageGone: There is nothing any more to give them back to, or to record a result in.
        """
        if self._storage_gone is not None:
            raise self._storage_gone
        return self._stop() or self._last_status is not StudyStatus.OPEN

    def _beat(self) -> None:
        while self._slots and not self._stop_event.wait(self._interval_seconds):
            try:
                lost = {slot.number for slot in self._ledger.beat_many(self._slots)}
                self._slots = [slot for slot in self._slots if slot.number not in lost]
                self._lost |= lost
                self._last_status = self._ledger.reader.status()
            except StorageGone as error:
                self._storage_gone = error
                return
            except StorageError as error:
                # The training goes on: whether its result still counts, the ledger decides.
                _log.warning("no heartbeat for %d slots: %s", len(self._slots), error)


# The shortest time between two announcements of what a worker does.
_MIN_INTERVAL_SECONDS = 1.0
# How long the end of a worker waits until it is no longer announced.
_LEAVE_TIMEOUT_SECONDS = 2.0


@final
class WorkerHeartbeat:
    """Announces one worker in the database until the block ends.

    Example:
        ```python
        with WorkerHeartbeat(database, name="host:4711", beat_seconds=10.0) as heartbeat:
            heartbeat.set_activity(WorkerActivity.STARTING, study=row)
            heartbeat.set_activity(WorkerActivity.TRAINING, study=row, device="cpu")
        ```
    """

    def __init__(self, database: Database, *, name: str, beat_seconds: float) -> None:
        self._registration = WorkerRegistration(database, name=name, beat_seconds=beat_seconds)
        self._interval_seconds = beat_seconds
        self._state: tuple[WorkerActivity, StudyRow | None, str | None] = (
            WorkerActivity.STARTING,
            None,
            None,
        )
        self._changed = threading.Event()
        self._stop_event = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker heartbeat", daemon=True)

    def __enter__(self) -> WorkerHeartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop_event.set()
        self._changed.set()
        self._thread.join(_LEAVE_TIMEOUT_SECONDS)

    def set_activity(
        self, activity: WorkerActivity, *, study: StudyRow | None = None, device: str | None = None
    ) -> None:
        """Announce what this worker does from now on.

        Args:
            activity: What it does.
            study: The study that it serves; None for none.
            device: What it trains on, once that is known.
        """
        state = (activity, study, device)
        if state != self._state:
            self._state = state
            self._changed.set()

    def _run(self) -> None:
        min_interval = min(_MIN_INTERVAL_SECONDS, self._interval_seconds)
        while not self._stop_event.is_set():
            self._changed.clear()
            self._write_state()
            self._stop_event.wait(min_interval)
            self._changed.wait(self._interval_seconds - min_interval)
        with suppress(StorageError):
            self._registration.unregister()

    def _write_state(self) -> None:
        activity, study, device = self._state
        try:
            self._registration.register(study=study, activity=activity, device=device)
        except StorageError as error:
            _log.debug("this worker could not be announced: %s", error)
