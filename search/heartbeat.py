"""The heartbeat: a thread that keeps the leases of slots while their training runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import TracebackType

from ..storage.errors import StorageError
from ..storage.ledger import Ledger, Slot

_log = logging.getLogger(__name__)

# Beats in one lease: two may be lost before the third is late.
_BEATS_PER_LEASE = 3


class Heartbeat:
    """Extends the leases of slots until the block ends.

    Example:
        ```python
        with Heartbeat(ledger, slots, 30.0) as heartbeat:
            for epoch in range(20):
                ...                  # train
                heartbeat.lost       # numbers of the slots that another worker may hold now
        ```
    """

    def __init__(self, ledger: Ledger, slots: Sequence[Slot], lease_seconds: float) -> None:
        self._ledger, self._held = ledger, list(slots)
        self._pause = lease_seconds / _BEATS_PER_LEASE
        self._ended = threading.Event()
        self._lost: frozenset[int] = frozenset()
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

    def _beat(self) -> None:
        while self._held and not self._ended.wait(self._pause):
            try:
                lost = {slot.number for slot in self._ledger.beat_many(self._held)}
            except StorageError as error:
                # The training goes on: whether its result still counts, the ledger decides.
                _log.warning("no heartbeat for %d slots: %s", len(self._held), error)
                continue
            self._held = [slot for slot in self._held if slot.number not in lost]
            self._lost |= lost
