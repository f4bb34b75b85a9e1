"""How many workers a fleet is asked for: a number, or as many as this machine takes.

Entry points: `resolve_worker_count`, for a study; `workers_of_machine`, for a device.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from rich.console import Console

from ...storage.database.database import Database
from ...storage.study.study import load_study
from ..errors import SpecError
from ..flags import AUTO_WORKERS
from ..problem.stored import stored_spec
from ..spec.device import device_for
from ..worker.options import FleetWorkerOptions
from .devices import auto_worker_count, count_gpus, usable_cpus
from .worker_fleet import Launcher


def resolve_worker_count(
    requested: int,
    database: Database,
    name: str,
    options: FleetWorkerOptions,
    console: Console,
    launcher: Launcher = Launcher.LOCAL,
    *,
    gpu_count: Callable[[], int] = count_gpus,
) -> int:
    """Return how many workers to start.

    Args:
        requested: What `--workers` says; `AUTO_WORKERS` for as many as this machine takes.
        database: Where the study is.
        name: The study's name.
        options: How each worker works.
        console: Where the number is written, where it was not given.
        launcher: Where they are started.
        gpu_count: Returns how many GPUs this machine has.

    Raises:
        SpecError: They are started elsewhere, or the device is not the study's.
    """
    if requested != AUTO_WORKERS:
        return requested
    if launcher is Launcher.RAY:
        raise SpecError(
            '--workers: found "auto" with --on ray, but auto counts the devices of this machine; '
            "say how many workers Ray is to place"
        )
    device = device_for(name, stored_spec(load_study(database, name)).proxy.device, options.device)
    workers = workers_of_machine(device, options, gpu_count=gpu_count)
    plural = "" if workers == 1 else "s"
    console.print(f"--workers auto: {workers} worker{plural} on this machine", markup=False)
    return workers


def workers_of_machine(
    device: str, options: FleetWorkerOptions, *, gpu_count: Callable[[], int] = count_gpus
) -> int:
    """Return how many workers this machine takes now, at least 1.

    Args:
        device: What they train on: no "auto".
        options: How each of them works.
        gpu_count: Returns how many GPUs this machine has.
    """
    return auto_worker_count(
        device,
        os.environ,
        threads=options.threads,
        workers_per_gpu=options.workers_per_gpu,
        gpu_count=gpu_count,
        cpu_count=usable_cpus,
        free_bytes=_free_host_bytes,
    )


def _free_host_bytes() -> int | None:
    from ..problem.device_memory import THIS_HOST  # it loads torch

    return THIS_HOST.free()
