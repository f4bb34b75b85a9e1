"""The heartbeat: a thread that keeps the leases of slots while their training runs.

With every beat it also reads what became of the study, so that a pause or a cancellation reaches
the training within a beat.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import final

from ...storage.database.database import Database
from ...storage.errors import StorageError
from ...storage.ledger.ledger import Ledger, Slot
from ...storage.ledger.slot import StudyRow, StudyStatus
from ...storage.study.workers import WorkerActivity, WorkerRegistration

_log = logging.getLogger(__name__)

# Beats in one lease: two may be lost before the third is late.
BEATS_PER_LEASE = 3


class LeaseHeartbeat:
    """Extends the leases of slots until the block ends.

    Example:
        ```python
        with LeaseHeartbeat(ledger, slots, 30.0) as heartbeat:
            for epoch in range(20):
                ...                  # train
                heartbeat.lost       # numbers of the slots that another worker may hold now
                heartbeat.last_status     # "open"; "paused" or "cancelled": stop, give the slots back
        ```
    """

    def __init__(self, ledger: Ledger, slots: Sequence[Slot], lease_seconds: float) -> None:
        self._ledger, self._slots = ledger, list(slots)
        self._interval_seconds = lease_seconds / BEATS_PER_LEASE
        self._stop_event = threading.Event()
        self._lost: frozenset[int] = frozenset()
        self._last_status = StudyStatus.OPEN
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

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

    @property
    def lost(self) -> frozenset[int]:
        """Numbers of the slots whose leases were lost; what is computed for them is refused."""
        return self._lost

    @property
    def last_status(self) -> StudyStatus:
        """The study's status at the last beat: open, paused or cancelled."""
        return self._last_status

    def _beat(self) -> None:
        while self._slots and not self._stop_event.wait(self._interval_seconds):
            try:
                lost = {slot.number for slot in self._ledger.beat_many(self._slots)}
                self._slots = [slot for slot in self._slots if slot.number not in lost]
                self._lost |= lost
                self._last_status = self._ledger.reader.status()
            except StorageError as error:
                # The training goes on: whether its result still counts, the ledger decides.
                _log.warning("no heartbeat for %d slots: %s", len(self._slots), error)


# A worker that goes from batch to batch within moments need not say so each time.
_MIN_INTERVAL_SECONDS = 1.0
# How long the end of a worker waits for its sign to be taken down.
_LEAVE_TIMEOUT_SECONDS = 2.0


@final
class WorkerHeartbeat:
    """Announces one worker until the block ends, then takes its sign down.

    Example:
        ```python
        with WorkerHeartbeat(database, name="host:4711", beat_seconds=10.0) as announcer:
            announcer.set_activity(WorkerActivity.STARTING, study=row)
            announcer.set_activity(WorkerActivity.TRAINING, study=row, device="cpu")
        ```
    """

    def __init__(self, database: Database, *, name: str, beat_seconds: float) -> None:
        self._presence = WorkerRegistration(database, name=name, beat_seconds=beat_seconds)
        self._interval_seconds = beat_seconds
        self._state: tuple[WorkerActivity, StudyRow | None, str | None] = (
            WorkerActivity.STARTING,
            None,
            None,
        )
        self._changed = threading.Event()
        self._stop_event = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

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
        """Say what this worker does from now on.

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
            self._presence.unregister()

    def _write_state(self) -> None:
        activity, study, device = self._state
        try:
            self._presence.register(study=study, activity=activity, device=device)
        except StorageError as error:
            _log.debug("this worker could not be announced: %s", error)
