"""The heartbeat: a thread that keeps the leases of slots while their training runs.

With every beat it also reads what became of the study, so that a pause or a cancellation reaches
the training within a beat.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import TracebackType

from ..storage.errors import StorageError
from ..storage.ledger import Ledger, Slot

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
