"""A worker's part of its device's memory, where several workers share it.

    part = min(free when it started, pool / workers on the device)

The pool is what all of them may have. On a CPU it is what is free and what the others hold already,
so that nothing they hold is counted twice; on a GPU, where a process is not told what others hold,
all of its memory. How many there are, whoever started them says, or the table of workers: those
alive on the same host and device.

Worked example: a GPU of 80 GB with 60 GB free and four workers: min(60, 80 / 4) = 20 GB.

Entry points: `MemoryShare`; `device_label`, by which workers on one device know each other.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import psutil
import torch

from ...storage.study.workers import WorkerRow
from .device_memory import THIS_HOST, HostMemory, classify_device, free_memory


@final
@dataclass(frozen=True, kw_only=True)
class MemoryShare:
    """What one worker may plan with, however many share its device.

    Attributes:
        free: Bytes that were left on the device when it started; None where not known.
        pool: Bytes that all workers on the device may have together; None where not known.
    """

    free: int | None
    pool: int | None

    @classmethod
    def measure(
        cls, device: torch.device, siblings: Sequence[WorkerRow], host: HostMemory = THIS_HOST
    ) -> MemoryShare:
        """Measure a device on which other workers run already.

        Args:
            device: Where this worker trains.
            siblings: The other workers on it.
            host: Says what this machine has.
        """
        free = free_memory(device, host)
        if device.type == "cuda":
            _, device_total = torch.cuda.mem_get_info(device)
            return cls(free=free, pool=device_total)
        if free is None:
            return cls(free=None, pool=None)
        held = held_by(sibling.pid for sibling in siblings)
        total = host.total()
        return cls(free=free, pool=free + held if total is None else min(free + held, total))

    def part(self, workers: int) -> int | None:
        """Return the bytes that one of so many workers may plan with; None where not known."""
        if self.free is None or self.pool is None or workers < 2:
            return self.free
        return min(self.free, self.pool // workers)


def siblings_on_device(
    workers: Iterable[WorkerRow], *, own_name: str, label: str, host: str | None = None
) -> list[WorkerRow]:
    """Return the other workers that are alive on this host and the same device.

    Args:
        workers: All that are registered.
        own_name: This worker's name.
        label: Its device's (`device_label`).
        host: Its host; None for the machine that this runs on.
    """
    own_host = host or socket.gethostname()
    return [
        worker
        for worker in workers
        if worker.alive
        and worker.name != own_name
        and (worker.host, worker.device) == (own_host, label)
    ]


def device_label(
    device: torch.device,
    host: HostMemory = THIS_HOST,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """Return a device's class and, of a GPU, which one it is: "cuda: …, 80 GiB, GPU-8e2a41c7"."""
    device_class = classify_device(device, host)
    if device.type != "cuda":
        return device_class
    index = torch.cuda.current_device() if device.index is None else device.index
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"{device_class}, {gpu_identity(index, uuid and str(uuid), environment)}"


def gpu_identity(index: int, uuid: str | None, environment: Mapping[str, str]) -> str:
    """Return what tells a GPU from the others of its host.

    Args:
        index: Its number among those that this process sees.
        uuid: Its UUID as torch gives it, the same for all parts of one GPU; None where unknown.
        environment: Of this process; the parts of a GPU are told by CUDA_VISIBLE_DEVICES.
    """
    visible = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    named = visible[index] if index < len(visible) else ""
    if named.startswith("MIG-"):
        return named
    if uuid:
        return f"GPU-{uuid.removeprefix('GPU-')[:8]}"
    return f"GPU {named or index}"


def held_by(pids: Iterable[int]) -> int:
    """Return the resident bytes of processes of this host and of all that they started."""
    held = 0
    for pid in pids:
        try:
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.Error:
            continue  # it has ended, or is none of ours to look at
        for process in family:
            try:
                held += process.memory_info().rss
            except psutil.Error:
                continue
    return held
