"""How many workers a fleet on this machine has, and which GPU each of them trains on.

A worker whose study says `cuda` takes the first GPU that it sees. So each worker is shown one, in
turn; more workers than GPUs share them, and each plans with its part of the memory. What
CUDA_VISIBLE_DEVICES shows to this process is all that is handed on, whatever it names: numbers,
UUIDs or parts of a GPU. So what a scheduler assigned stays as it is.

Entry points: `assign_workers`, `describe_assignment`; `auto_worker_count` for `--workers auto`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...objectives.device_workers import DEVICE_WORKERS_VARIABLE
from ..spec.device import device_kind

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"

_BYTES_PER_CPU_WORKER = 2**30
# A worker and its trainer hold some 400 MB with torch loaded, before any data or model.

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, kw_only=True)
class WorkerDevice:
    """What one worker of a fleet trains on.

    Attributes:
        gpu: Its GPU as CUDA_VISIBLE_DEVICES names it; None for what all of them see.
        sharing: Workers of the fleet on the same device, itself included.
    """

    gpu: str | None
    sharing: int

    def environment(self) -> dict[str, str]:
        """Return the variables that tell the worker."""
        shown = {} if self.gpu is None else {VISIBLE_VARIABLE: self.gpu}
        return {**shown, DEVICE_WORKERS_VARIABLE: str(self.sharing)}


def count_gpus() -> int:
    """Return how many GPUs this process sees."""
    import torch  # only who trains on GPUs waits for it

    return torch.cuda.device_count()


def visible_gpus(environment: Mapping[str, str], count: Callable[[], int]) -> list[str]:
    """Return the GPUs of this process, as CUDA_VISIBLE_DEVICES names them.

    Args:
        environment: Of this process.
        count: Returns how many GPUs there are; called where no variable says it.
    """
    visible = environment.get(VISIBLE_VARIABLE)
    if visible is None:
        return [str(index) for index in range(count())]
    gpus = [name.strip() for name in visible.split(",")]
    # CUDA itself ends the list at the first name that is none.
    end = next((i for i, name in enumerate(gpus) if name in ("", "-1")), len(gpus))
    return gpus[:end]


def assign_workers(
    device: str, worker_count: int, environment: Mapping[str, str], count: Callable[[], int]
) -> list[WorkerDevice]:
    """Return the device of each worker of a fleet; the GPUs are dealt out in turn.

    Args:
        device: What the workers train on, "cuda" or another; one with a number is for all.
        worker_count: How many there are.
        environment: Of this process.
        count: Returns how many GPUs there are; called where no variable says it.
    """
    gpus = visible_gpus(environment, count) if device == "cuda" else []
    if len(gpus) < 2:
        return [WorkerDevice(gpu=None, sharing=worker_count)] * worker_count
    turns, more = divmod(worker_count, len(gpus))
    return [
        WorkerDevice(gpu=gpus[turn], sharing=turns + (turn < more))
        for turn in (index % len(gpus) for index in range(worker_count))
    ]


def describe_assignment(
    devices: Sequence[WorkerDevice], device: str, workers_per_gpu: int
) -> str | None:
    """Return which workers train on which GPU, in a line; None where there is nothing to tell.

    Args:
        devices: Of each worker.
        device: What they train on, as the study says.
        workers_per_gpu: Workers that a GPU was meant for.
    """
    workers_by_gpu: dict[str | None, list[int]] = {}
    for worker, assigned in enumerate(devices, start=1):
        workers_by_gpu.setdefault(assigned.gpu, []).append(worker)
    if device_kind(device) != "cuda" or (None in workers_by_gpu and len(devices) < 2):
        return None
    parts = [
        f"GPU{'' if gpu is None else f' {gpu}'}: worker{'s' if len(workers) > 1 else ''} "
        + ", ".join(map(str, workers))
        for gpu, workers in workers_by_gpu.items()
    ]
    most = max(map(len, workers_by_gpu.values()))
    if most > workers_per_gpu:
        parts.append(
            f"more than {workers_per_gpu} on a GPU (--workers-per-gpu): they share its memory"
        )
    return "; ".join(parts)


def auto_worker_count(
    device: str,
    environment: Mapping[str, str],
    *,
    threads: int,
    workers_per_gpu: int,
    gpu_count: Callable[[], int],
    cpu_count: Callable[[], int],
    free_bytes: Callable[[], int | None],
) -> int:
    """Return how many workers `--workers auto` means on this machine, at least 1.

    On GPUs it is their number times `workers_per_gpu`. On a CPU it is as many as have `threads`
    CPUs each, and a GiB of the memory that is free now. Worked example: 16 CPUs, 4 threads and
    3 GiB: min(16 // 4, 3) = 3.

    Args:
        device: What they train on, as the study says.
        environment: Of this process.
        threads: CPU threads of each.
        workers_per_gpu: Workers on each GPU.
        gpu_count: Returns how many GPUs there are; called where no variable says it.
        cpu_count: Returns how many CPUs this process may use.
        free_bytes: Returns the host's free memory; None where it is not known.
    """
    if device_kind(device) == "mps":
        return 1
    if device_kind(device) == "cuda":
        gpus = len(visible_gpus(environment, gpu_count)) if device == "cuda" else 1
        return max(1, gpus * workers_per_gpu)
    by_cpus, free = cpu_count() // threads, free_bytes()
    by_memory = by_cpus if free is None else free // _BYTES_PER_CPU_WORKER
    return max(1, min(by_cpus, by_memory))


def usable_cpus(quota_file: Path = _CPU_QUOTA) -> int:
    """Return how many CPUs this process may use, by its affinity and its container's quota.

    Args:
        quota_file: Where the control group (version 2) says "QUOTA PERIOD", or "max PERIOD".
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return cpus
    return min(cpus, max(1, math.ceil(int(quota) / int(period)))) if quota.isdigit() else cpus
