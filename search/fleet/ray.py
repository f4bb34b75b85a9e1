"""A fleet on Ray: its scheduler finds each worker of `widthwise run --on ray` a place.

On its node a worker is the same `widthwise worker` as anywhere else, watched over by a Ray actor
(`Host`). Nothing of the search passes through Ray: the database is the queue, and it knows what a
lost node had in hand. Ray starts the lost worker anew elsewhere.

Entry point: `RayFleet`, which is used as `fleet.Fleet` is.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, final

from sqlalchemy.engine import URL

from ...storage.database.password import PASSWORD_FILE, STORAGE
from ..errors import Drained, SpecError
from .ray_cluster import connect, ray_library, room
from .worker_process import Ended, WorkerProcess

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
# What a drained worker may take: its grace time and a database call or two.
_GRACE_SECONDS = 60.0
# What a worker may take to be killed and its host to say so.
_KILL_SECONDS = 5.0


@final
class Host:
    """A worker's keeper on its node: starts it, hands signals on, tells how it ended."""

    def __init__(self) -> None:
        self._asked: deque[Signals] = deque()

    def serve(
        self, arguments: Sequence[str], url: URL, folder: str, environment: Mapping[str, str]
    ) -> Ended:
        """Run a worker until it ends.

        Args:
            arguments: Its command line, after the program's name.
            url: The storage, password included.
            folder: Where it works, if that is there on this node.
            environment: Variables that it gets beside the node's own.
        """
        if self._asked:
            return Ended(code=Drained.exit_code, message="")
        # It drains when this process dies, as it does when Ray takes the place away.
        process = WorkerProcess(
            [*arguments, "--parent", str(os.getpid())],
            url,
            folder=Path(folder) if Path(folder).is_dir() else None,
            environment=environment,
        )
        try:
            while (ended := process.ended()) is None:
                while self._asked:
                    process.signal(self._asked.popleft())
                time.sleep(_POLL_SECONDS)
            return ended
        finally:
            process.close()

    def signal(self, number: Signals) -> None:
        """Send the worker a signal; one that has not begun never will."""
        self._asked.append(number)


@final
class RayFleet:
    """Workers on a Ray cluster that end with this process.

    The cluster is the one that RAY_ADDRESS names or that this machine is a node of; where there is
    none, Ray is started on this machine and stopped with the fleet.

    Args:
        arguments: Command line of each worker, after the program's name and without `--parent`.
        size: How many to start.
        url: The storage, password included; it reaches the workers in Ray's own messages and is
            in no log of Ray's, argument or variable.
        threads: CPUs that each worker holds.
        gpu: Whether each worker holds a GPU of its own; without, it sees none.

    Raises:
        SpecError: Ray is not installed, its cluster cannot be reached, or the workers can never run
            there.
    """

    def __init__(
        self, arguments: Sequence[str], size: int, url: URL, *, threads: int, gpu: bool
    ) -> None:
        self._ray = ray = ray_library()
        # A program that uses Ray itself keeps its connection.
        self._joined = not ray.is_initialized()
        started = self._joined and connect(ray)
        try:
            places = room(ray, url, threads, gpu, started)
        except SpecError:
            self._leave()
            raise
        if places < size:
            _log.warning("Ray has room for %d of %d workers; the others wait for it", places, size)
        host = ray.remote(
            num_cpus=threads,
            num_gpus=int(gpu),
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=2,  # `signal` beside `serve`
        )(Host)
        environment = _environment(gpu)
        self._hosts: list[Any] = [host.remote() for _ in range(size)]
        self._placed = [one.__ray_ready__.remote() for one in self._hosts]
        self._served = [
            one.serve.remote(list(arguments), url, str(Path.cwd()), environment)
            for one in self._hosts
        ]
        self._ended: dict[int, Ended] = {}

    def running(self) -> int:
        """How many workers have not ended, those that wait for a place included."""
        self._collect()
        return len(self._hosts) - len(self._ended)

    def watch(self, tick: Callable[[], None]) -> list[Ended]:
        """Call `tick` a few times a second until every worker has ended."""
        while self.running():
            tick()
            time.sleep(_POLL_SECONDS)
        tick()
        return self.ended()

    def drain(self) -> None:
        """Ask every worker to stop after the epoch at hand, and wait for it."""
        self._dismiss_unplaced(Ended(code=Drained.exit_code, message=""))
        self._signal(SIGTERM)
        self._await(_GRACE_SECONDS)

    def close(self) -> None:
        """End what still runs, at once; its slots come back when their leases expire."""
        if self.running():
            self._signal(SIGKILL)
            self._await(_KILL_SECONDS)
        for index in range(len(self._hosts)):
            if index not in self._ended:
                self._dismiss(index, Ended(code=-SIGKILL, message=""))
        self._leave()

    def ended(self) -> list[Ended]:
        """How each worker that ended did."""
        return [self._ended[index] for index in sorted(self._ended)]

    def _collect(self) -> None:
        """Note who ended since the last look, and give their places back."""
        for index, served in enumerate(self._served):
            if index in self._ended or not self._done(served):
                continue
            try:
                ended: Ended = self._ray.get(served)
            except self._ray.exceptions.RayError as error:
                reason = str(error).partition("\n")[0]
                ended = Ended(code=-SIGKILL, message=f"Ray lost a worker for good: {reason}")
            self._dismiss(index, ended)
            if ended.code == 0:
                # Nothing is left to do; a busy cluster may never have a place for the others.
                self._dismiss_unplaced(Ended(code=0, message=""))

    def _dismiss(self, index: int, ended: Ended) -> None:
        self._ended[index] = ended
        self._ray.kill(self._hosts[index])

    def _dismiss_unplaced(self, ended: Ended) -> None:
        for index, placed in enumerate(self._placed):
            if index not in self._ended and not self._done(placed):
                self._dismiss(index, ended)

    def _signal(self, number: Signals) -> None:
        for index, host in enumerate(self._hosts):
            if index not in self._ended:
                host.signal.remote(number)

    def _await(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _done(self, reference: Any) -> bool:
        ready, _ = self._ray.wait([reference], timeout=0)
        return bool(ready)

    def _leave(self) -> None:
        if self._joined:
            self._ray.shutdown()


def _environment(gpu: bool) -> dict[str, str]:
    """Variables for every worker: our own settings, the storage's excepted, which go their way."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("WIDTHWISE_") and name not in (STORAGE, PASSWORD_FILE)
    }
    # Ray shows a worker the GPU that it holds, and all of them to one that holds none.
    return ours if gpu else {**ours, "CUDA_VISIBLE_DEVICES": ""}
