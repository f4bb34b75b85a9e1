"""Where the workers of a search from Python are started, so that all find what is searched.

One trains in this process. Several are processes: started anew where everything can be imported or
pickled, else forks of this one.

Entry points: `launcher_for`; `resolve_workers`, for how many they are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from rich.console import Console

from ...objectives.held_objects import FILE_VARIABLE, pickled
from ..fleet.forked_worker import check_fork
from ..fleet.worker_count import workers_of_machine
from ..fleet.worker_fleet import Launcher
from ..worker.options import FleetWorkerOptions


def resolve_workers(
    workers: int | Literal["auto"], device: str, options: FleetWorkerOptions, console: Console
) -> int:
    """Return how many workers to start.

    Args:
        workers: What was asked for; "auto" for as many as this machine takes.
        device: That they train on, as the spec says.
        options: How each of them works.
        console: Where the number is written, where it was not given.

    Raises:
        ModelError: The device is not there.
    """
    if workers != "auto":
        return workers
    count = workers_of_machine(_resolved(device), options)
    console.print(f"workers: auto is {count} on this machine", markup=False)
    return count


@contextmanager
def launcher_for(
    held: Sequence[str], workers: int, device: str, threads: int
) -> Iterator[Launcher]:
    """Yield where workers are started.

    Args:
        held: References of objects that only this program knows.
        workers: How many there are.
        device: That they train on, as the spec says.
        threads: CPU threads of each.

    Raises:
        SpecError: There is no way to give the objects to several workers.
        ModelError: The device is not there.
    """
    if workers == 1:
        yield Launcher.IN_PROCESS
        return
    content = pickled(held)
    if content is None:
        check_fork(_resolved(device), threads)
        yield Launcher.FORK
        return
    before = os.environ.get(FILE_VARIABLE)
    # Read by this user alone: `mkstemp` makes it so.
    descriptor, path = tempfile.mkstemp(prefix="widthwise-", suffix=".pickle")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.environ[FILE_VARIABLE] = path
        yield Launcher.LOCAL
    finally:
        if before is None:
            os.environ.pop(FILE_VARIABLE, None)
        else:
            os.environ[FILE_VARIABLE] = before
        with suppress(OSError):
            Path(path).unlink()


def _resolved(device: str) -> str:
    from ...objectives.training.settings import resolve_device  # it loads torch

    return str(resolve_device(device))
