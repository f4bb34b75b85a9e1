"""The local fleet: worker processes of `widthwise run` on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from signal import SIGKILL, Signals
from typing import Protocol, final

from .worker_fleet import WorkerFleet
from .worker_process import WorkerExit


class RunningWorker(Protocol):
    """A worker that was started on this machine."""

    def poll(self) -> WorkerExit | None:
        """Return how it ended; None while it runs."""
        ...

    def signal(self, signum: Signals) -> None:
        """Send it a signal, if it still runs."""
        ...

    def close(self) -> None:
        """End it at once, if it still runs; its slots come back when their leases expire."""
        ...


@final
class LocalFleet(WorkerFleet):
    """Workers on this machine.

    Args:
        workers: Their processes, started.
    """

    def __init__(self, workers: Sequence[RunningWorker]) -> None:
        self._workers = workers

    def size(self) -> int:
        """Return how many workers were started."""
        return len(self._workers)

    def exits(self) -> list[WorkerExit]:
        """Return how each worker that has ended did."""
        return [
            worker_exit for worker in self._workers if (worker_exit := worker.poll()) is not None
        ]

    def signal(self, signum: Signals) -> None:
        """Send a signal to every worker that runs."""
        for worker in self._workers:
            worker.signal(signum)

    def close(self) -> None:
        """End what still runs, at once; its slots come back when their leases expire."""
        self.signal(SIGKILL)
        for worker in self._workers:
            worker.close()
