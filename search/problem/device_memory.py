"""The memory of a device: how much is there, how much is free, and what class of device that makes.

A limit of the search is each candidate's own; what trains together has to fit the device as well.
What a process of this machine may have is the least of the machine's memory, the container's limit
and the process's own.

Entry points: `candidates_in_memory`, `free_memory`, `classify_device`; `HostMemory`, where the
figures of this machine come from.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

import psutil
import torch

# Of what is free now: other processes, and what no count of live bytes sees, take the rest.
_USABLE_FRACTION = 0.6
_GIB = 2**30
_MIB = 2**20
# Below it a whole number of GiB would make one class of what differs by a third and more.
_WHOLE_GIB_FROM = 4 * _GIB


class MachineMemory(Protocol):
    """What the operating system says of the machine's memory, in bytes."""

    @property
    def total(self) -> int:
        """All of it."""
        ...

    @property
    def available(self) -> int:
        """What processes can have without swapping."""
        ...


@final
@dataclass(frozen=True, kw_only=True)
class HostMemory:
    """The memory that a process of this machine and container may have.

    Attributes:
        read_machine: Asks the operating system; raises OSError where it does not say.
        cgroup: Folder of the container's control group (version 2; psutil does not read it).
        read_process_limit: Soft and hard limit of the process by `resource.RLIMIT_…`.
    """

    read_machine: Callable[[], MachineMemory] = psutil.virtual_memory
    cgroup: Path = Path("/sys/fs/cgroup")
    read_process_limit: Callable[[int], tuple[int, int]] = resource.getrlimit

    def free(self) -> int | None:
        """Return the bytes that are left; None where it is not known."""
        machine = self._machine()
        sizes = [None if machine is None else machine.available, self._free_in_container()]
        return min((size for size in sizes if size is not None), default=None)

    def total(self) -> int | None:
        """Return the bytes that a process may have; None where it is not known."""
        machine = self._machine()
        sizes = [None if machine is None else machine.total, self._container_limit()]
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            soft_limit, _ = self.read_process_limit(kind)
            sizes.append(None if soft_limit == resource.RLIM_INFINITY else soft_limit)
        return min((size for size in sizes if size is not None), default=None)

    def _machine(self) -> MachineMemory | None:
        try:
            return self.read_machine()
        except OSError:
            return None

    def _free_in_container(self) -> int | None:
        """Return what the container's limit leaves; None without one."""
        limit, used = self._container_limit(), _read_number(self.cgroup / "memory.current")
        if limit is None or used is None:
            return None
        # Pages of files that were not used lately count as used, and are given up on demand.
        reclaimed = _read_table_entry(self.cgroup / "memory.stat", "inactive_file") or 0
        return max(limit - used + reclaimed, 0)

    def _container_limit(self) -> int | None:
        """Return what the container may use; None without a limit."""
        return _read_number(self.cgroup / "memory.max")


THIS_HOST = HostMemory()
"""This machine."""


def free_memory(device: torch.device, host: HostMemory = THIS_HOST) -> int | None:
    """Return the bytes that a device, or the host, has left; None where it is not known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    return host.free()


def candidates_in_memory(candidate_bytes: int | None, free_bytes: int | None) -> int | None:
    """Return how many candidates may be trained at once, at least 1; None where nothing bounds it.

    Args:
        candidate_bytes: Bytes that training the largest candidate takes; None where not known.
        free_bytes: Bytes that the device has left; None where not known.
    """
    if candidate_bytes is None or free_bytes is None:
        return None
    return max(1, int(_USABLE_FRACTION * free_bytes / candidate_bytes))


def classify_device(device: torch.device, host: HostMemory = THIS_HOST) -> str:
    """Return the class of a device: kind, model of a GPU, and memory.

    Of a CPU the memory that a process of it may have decides: "cpu: 24 GiB".
    """
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        size = _format_coarse_size(int(properties.total_memory))
        return f"cuda: {torch.cuda.get_device_name(device)}, {size}"
    total = host.total()
    return device.type if total is None else f"{device.type}: {_format_coarse_size(total)}"


def _format_coarse_size(size: int) -> str:
    """Return a size so coarse that machines which are sold as equal are of one class."""
    if size >= _WHOLE_GIB_FROM:
        return f"{round(size / _GIB)} GiB"
    return f"{max(1, round(size / _MIB / 64)) * 64} MiB"


def _read_number(file: Path) -> int | None:
    """Return the number that one of the kernel's files holds; None where it holds none."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _read_table_entry(table: Path, name: str) -> int | None:
    """Return a number of one of the kernel's tables; None where there is none."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.split()[:1] == [name]]
    return int(values[0]) if values else None
