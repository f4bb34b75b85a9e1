"""A fleet on Ray, whose scheduler places each worker of `widthwise run --on ray` on a node.

On its node a worker is the same `widthwise worker` as anywhere else, supervised by a Ray actor
(`WorkerActor`). Nothing of the search passes through Ray: the database is the queue, and it knows
what a lost node held. Ray starts the lost worker anew elsewhere.

Entry point: `RayFleet`.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any, final

from sqlalchemy.engine import URL

from ...storage.database.url import STORAGE_VARIABLES
from ..errors import Drained, SpecError
from .ray_cluster import connect, import_ray, worker_capacity
from .worker_fleet import WorkerFleet
from .worker_process import WorkerExit, WorkerProcess

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
# What a worker may take to be killed and its actor to report it.
_KILL_SECONDS = 5.0


@final
class WorkerActor:
    """Runs a worker on its node: starts it, hands signals on, returns how it ended."""

    def __init__(self) -> None:
        self._pending_signals: deque[Signals] = deque()

    def serve(
        self, arguments: Sequence[str], url: URL, folder: str, environment: Mapping[str, str]
    ) -> WorkerExit:
        """Run a worker until it ends.

        Args:
            arguments: Its command line, after the program's name and without `--parent`.
            url: The storage, password included.
            folder: Where it works, if that is there on this node.
            environment: Variables that it gets beside the node's own.
        """
        if self._pending_signals:
            return WorkerExit(exit_code=Drained.exit_code, message="")
        # It drains when this process dies, as it does when Ray takes the resources away.
        process = WorkerProcess(
            arguments,
            url,
            working_folder=Path(folder) if Path(folder).is_dir() else None,
            environment=environment,
        )
        try:
            while (worker_exit := process.poll()) is None:
                while self._pending_signals:
                    process.signal(self._pending_signals.popleft())
                time.sleep(_POLL_SECONDS)
            return worker_exit
        finally:
            process.close()

    def signal(self, signum: Signals) -> None:
        """Send the worker a signal; one that has not begun never will."""
        self._pending_signals.append(signum)


@final
class RayFleet(WorkerFleet):
    """Workers on a Ray cluster that end with this process.

    The cluster is the one that RAY_ADDRESS names or that this machine is a node of; where there is
    none, Ray is started on this machine and stopped with the fleet.

    Args:
        arguments: Command line of each worker, after the program's name and without `--parent`.
        fleet_size: How many to start.
        url: The storage, password included; it reaches the workers in Ray's own messages and is
            in no log of Ray's, argument or variable.
        threads: CPUs that each worker holds.
        workers_per_gpu: How many workers hold a GPU together; None where each sees none.

    Raises:
        SpecError: Ray is not installed, its cluster cannot be reached, or the workers can never run
            there.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        fleet_size: int,
        url: URL,
        *,
        threads: int,
        workers_per_gpu: int | None,
    ) -> None:
        self._ray = ray = import_ray()
        # A program that uses Ray itself keeps its connection.
        self._owns_connection = not ray.is_initialized()
        started_here = self._owns_connection and connect(ray)
        try:
            capacity = worker_capacity(ray, url, threads, workers_per_gpu, started_here)
        except SpecError:
            self._disconnect()
            raise
        if capacity < fleet_size:
            _log.warning(
                "Ray has room for %d of %d workers; the others wait for it", capacity, fleet_size
            )
        actor_class = ray.remote(
            num_cpus=threads,
            num_gpus=0 if workers_per_gpu is None else 1 / workers_per_gpu,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=2,  # `signal` beside `serve`
        )(WorkerActor)
        environment = _worker_environment(gpu=workers_per_gpu is not None)
        self._actors: list[Any] = [actor_class.remote() for _ in range(fleet_size)]
        self._placements = [actor.__ray_ready__.remote() for actor in self._actors]
        self._results = [
            actor.serve.remote(list(arguments), url, str(Path.cwd()), environment)
            for actor in self._actors
        ]
        self._exits: dict[int, WorkerExit] = {}

    def size(self) -> int:
        """Return how many workers were asked for, those that are not placed yet included."""
        return len(self._actors)

    def signal(self, signum: Signals) -> None:
        """Send a signal to every worker; one that is not placed yet never will be."""
        self._kill_unplaced(WorkerExit(exit_code=Drained.exit_code, message=""))
        for index, actor in enumerate(self._actors):
            if index not in self._exits:
                actor.signal.remote(signum)

    def close(self) -> None:
        """End what still runs, at once; its slots come back when their leases expire."""
        if self.running():
            self.signal(SIGKILL)
            self.wait_for_exits(_KILL_SECONDS)
        for index in range(len(self._actors)):
            if index not in self._exits:
                self._kill_actor(index, WorkerExit(exit_code=-SIGKILL, message=""))
        self._disconnect()

    def exits(self) -> list[WorkerExit]:
        """Return how each worker that has ended did."""
        self._collect_exits()
        return [self._exits[index] for index in sorted(self._exits)]

    def _collect_exits(self) -> None:
        """Note which workers have ended, and give their resources back."""
        for index, result in enumerate(self._results):
            if index in self._exits or not self._is_ready(result):
                continue
            try:
                worker_exit: WorkerExit = self._ray.get(result)
            except self._ray.exceptions.RayError as error:
                reason = str(error).partition("\n")[0]
                worker_exit = WorkerExit(
                    exit_code=-SIGKILL, message=f"Ray lost a worker for good: {reason}"
                )
            self._kill_actor(index, worker_exit)
            if worker_exit.exit_code == 0:
                # Nothing is left to do; a busy cluster may never have resources for the others.
                self._kill_unplaced(WorkerExit(exit_code=0, message=""))

    def _kill_actor(self, index: int, worker_exit: WorkerExit) -> None:
        self._exits[index] = worker_exit
        self._ray.kill(self._actors[index])

    def _kill_unplaced(self, worker_exit: WorkerExit) -> None:
        for index, placement in enumerate(self._placements):
            if index not in self._exits and not self._is_ready(placement):
                self._kill_actor(index, worker_exit)

    def _is_ready(self, reference: Any) -> bool:
        ready, _ = self._ray.wait([reference], timeout=0)
        return bool(ready)

    def _disconnect(self) -> None:
        if self._owns_connection:
            self._ray.shutdown()


def _worker_environment(*, gpu: bool) -> dict[str, str]:
    """Return our own settings for every worker, but for the storage's, which it is given apart."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("WIDTHWISE_") and name not in STORAGE_VARIABLES
    }
    # Ray shows a worker the GPU that it holds, and all of them to one that holds none.
    return variables if gpu else {**variables, "CUDA_VISIBLE_DEVICES": ""}
