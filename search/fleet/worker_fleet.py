"""A fleet: worker processes on one study that end with this process, wherever they run.

Entry points: `WorkerFleet`, with the loop that watches the workers; `Launcher`, where they run.
"""

from __future__ import annotations

import enum
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from signal import SIGTERM, Signals
from typing import Self, final

from ..errors import SpecError
from .worker_process import WorkerExit

# What a drained worker may take: its grace time and a database call or two.
_DRAIN_SECONDS = 60.0
_POLL_SECONDS = 0.2


class Launcher(enum.StrEnum):
    """Where workers are started.

    Attributes:
        LOCAL: As processes of this machine.
        RAY: Where Ray's scheduler puts them.
        IN_PROCESS: One in this very process, for objects that no other one can load.
        FORK: As forks of this process, which inherit its objects.
    """

    LOCAL = "local"
    RAY = "ray"
    IN_PROCESS = "in this process"
    FORK = "fork"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the launcher of that name, of those that a person may choose.

        Raises:
            SpecError: There is none.
        """
        chosen = (cls.LOCAL, cls.RAY)
        if text not in chosen:
            raise SpecError(f'--on: found "{text}", expected {" or ".join(chosen)}')
        return cls(text)


class WorkerFleet(ABC):
    """Worker processes, from their start to their end."""

    @abstractmethod
    def size(self) -> int:
        """Return how many workers were asked for."""

    @abstractmethod
    def exits(self) -> list[WorkerExit]:
        """Return how each worker that has ended did."""

    @abstractmethod
    def signal(self, signum: Signals) -> None:
        """Send a signal to every worker that runs; one that has not started need not start."""

    @abstractmethod
    def close(self) -> None:
        """End what still runs, at once; its slots come back when their leases expire."""

    @final
    def running(self) -> int:
        """Return how many workers have not ended."""
        return self.size() - len(self.exits())

    def watch(self, tick: Callable[[], None]) -> Sequence[WorkerExit]:
        """Call `tick` a few times a second until every worker has ended; return how they did."""
        while self.running():
            tick()
            time.sleep(_POLL_SECONDS)
        tick()
        return self.exits()

    @final
    def drain(self) -> None:
        """Ask every worker to stop after the epoch at hand, and wait for it."""
        self.signal(SIGTERM)
        self.wait_for_exits(_DRAIN_SECONDS)

    @final
    def wait_for_exits(self, seconds: float) -> None:
        """Wait until every worker has ended, at most so many seconds."""
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
