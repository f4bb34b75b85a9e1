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
from ...storage.ledger.slot import StudyRow
from ...storage.study.workers import Presence

_log = logging.getLogger(__name__)

# Beats in one lease: two may be lost before the third is late.
BEATS_PER_LEASE = 3


class Heartbeat:
    """Extends the leases of slots until the block ends.

    Example:
        ```python
        with Heartbeat(ledger, slots, 30.0) as heartbeat:
            for epoch in range(20):
                ...                  # train
                heartbeat.lost       # numbers of the slots that another worker may hold now
                heartbeat.wanted     # "open"; "paused" or "cancelled": stop, give the slots back
        ```
    """

    def __init__(self, ledger: Ledger, slots: Sequence[Slot], lease_seconds: float) -> None:
        self._ledger, self._held = ledger, list(slots)
        self._pause = lease_seconds / BEATS_PER_LEASE
        self._ended = threading.Event()
        self._lost: frozenset[int] = frozenset()
        self._wanted = "open"
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def lost(self) -> frozenset[int]:
        """Numbers of the slots whose leases were lost; what is computed for them is refused."""
        return self._lost

    @property
    def wanted(self) -> str:
        """The study's status at the last beat: open, paused or cancelled."""
        return self._wanted

    def _beat(self) -> None:
        while self._held and not self._ended.wait(self._pause):
            try:
                lost = {slot.number for slot in self._ledger.beat_many(self._held)}
                self._held = [slot for slot in self._held if slot.number not in lost]
                self._lost |= lost
                self._wanted = self._ledger.status()
            except StorageError as error:
                # The training goes on: whether its result still counts, the ledger decides.
                _log.warning("no heartbeat for %d slots: %s", len(self._held), error)


# A worker that goes from batch to batch within moments need not say so each time.
_LEAST_SECONDS = 1.0
# How long the end of a worker waits for its sign to be taken down.
_LEAVE_SECONDS = 2.0


@final
class Announcer:
    """Announces one worker until the block ends, then takes its sign down.

    Example:
        ```python
        with Announcer(database, name="host:4711", beat_seconds=10.0) as announcer:
            announcer.tell("starting", study=row)
            announcer.tell("training", study=row, device="cpu: 24 GiB")
        ```
    """

    def __init__(self, database: Database, *, name: str, beat_seconds: float) -> None:
        self._presence = Presence(database, name=name, beat_seconds=beat_seconds)
        self._pause = beat_seconds
        self._said: tuple[str, StudyRow | None, str | None] = ("starting", None, None)
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._announce, name="presence", daemon=True)

    def __enter__(self) -> Announcer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._changed.set()
        self._thread.join(_LEAVE_SECONDS)

    def tell(
        self, activity: str, *, study: StudyRow | None = None, device: str | None = None
    ) -> None:
        """Say what this worker does from now on.

        Args:
            activity: "starting", "training" or "waiting".
            study: The study that it serves; None for none.
            device: What it trains on, once that is known.
        """
        said = (activity, study, device)
        if said != self._said:
            self._said = said
            self._changed.set()

    def _announce(self) -> None:
        least = min(_LEAST_SECONDS, self._pause)
        while not self._ended.is_set():
            self._changed.clear()
            self._say()
            self._ended.wait(least)
            self._changed.wait(self._pause - least)
        with suppress(StorageError):
            self._presence.leave()

    def _say(self) -> None:
        activity, study, device = self._said
        try:
            self._presence.announce(study=study, activity=activity, device=device)
        except StorageError as error:
            _log.debug("this worker could not be announced: %s", error)
