"""The local fleet: worker processes of `widthwise run` on this machine, watched until they end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from sqlalchemy.engine import URL

from .worker_process import WorkerExit, WorkerProcess

# What a drained worker may take: its grace time and a database call or two.
_DRAIN_SECONDS = 60.0
_POLL_SECONDS = 0.2


class LocalFleet:
    """Worker processes that end with this one.

    Args:
        arguments: Command line of each worker, after the program's name and without `--parent`.
        fleet_size: How many to start.
        url: The storage, password included; it reaches the workers out of everybody's sight.
    """

    def __init__(self, arguments: Sequence[str], fleet_size: int, url: URL) -> None:
        command = [*arguments, "--parent", str(os.getpid())]
        self._workers = [WorkerProcess(command, url) for _ in range(fleet_size)]

    def running(self) -> int:
        """How many workers have not ended."""
        return len(self._workers) - len(self.exits())

    def watch(self, tick: Callable[[], None]) -> list[WorkerExit]:
        """Call `tick` a few times a second until every worker has ended."""
        while self.running():
            tick()
            time.sleep(_POLL_SECONDS)
        tick()
        return self.exits()

    def drain(self) -> None:
        """Ask every worker to stop after the epoch at hand, and wait for it."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self.running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End what still runs, at once; its slots come back when their leases expire."""
        self._signal(signal.SIGKILL)
        for worker in self._workers:
            worker.close()

    def exits(self) -> list[WorkerExit]:
        """How each worker that ended did."""
        return [
            worker_exit for worker in self._workers if (worker_exit := worker.poll()) is not None
        ]

    def _signal(self, signum: signal.Signals) -> None:
        for worker in self._workers:
            worker.signal(signum)
