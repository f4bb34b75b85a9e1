"""The heartbeat: a thread that keeps a slot's lease while its training runs."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from ..storage.errors import LeaseLost, StorageError
from ..storage.ledger import Ledger, Slot

_log = logging.getLogger(__name__)

# Beats in one lease: two may be lost before the third is late.
_BEATS_PER_LEASE = 3


class Heartbeat:
    """Extends the lease of `slot` until the block ends.

    Example:
        ```python
        with Heartbeat(ledger, slot, 30.0) as heartbeat:
            for epoch in range(20):
                ...                  # train
                heartbeat.check()    # raises LeaseLost once another worker holds the slot
        ```
    """

    def __init__(self, ledger: Ledger, slot: Slot, lease_seconds: float) -> None:
        self._ledger, self._slot = ledger, slot
        self._pause = lease_seconds / _BEATS_PER_LEASE
        self._ended, self._lost = threading.Event(), threading.Event()
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

    def check(self) -> None:
        """Nothing while the lease is held.

        Raises:
            LeaseLost: Another worker may hold the slot; what this one computes is refused.
        """
        if self._lost.is_set():
            raise LeaseLost(f"the lease of slot {self._slot.number} was lost")

    def _beat(self) -> None:
        while not self._ended.wait(self._pause):
            try:
                self._ledger.beat(self._slot)
            except LeaseLost:
                self._lost.set()
                return
            except StorageError as error:
                # The training goes on: whether its result still counts, the ledger decides.
                _log.warning("no heartbeat for slot %d: %s", self._slot.number, error)
