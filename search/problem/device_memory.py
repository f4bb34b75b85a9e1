"""How many candidates fit into memory together, by their predicted training memory.

A limit of the search is each candidate's own; what trains together has to fit the device as well.

Entry points: `candidates_in_memory`, `free_memory`, `total_memory`.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import torch

# Of what is free now: other processes, and what no count of live bytes sees, take the rest.
_USABLE_FRACTION = 0.6
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def candidates_in_memory(candidate_bytes: int | None, device: torch.device) -> int | None:
    """How many candidates may be trained at once, at least 1; None where nothing bounds it.

    Args:
        candidate_bytes: Bytes that training the largest candidate takes; None where nobody knows.
        device: Where they are trained.
    """
    free = free_memory(device)
    if candidate_bytes is None or free is None:
        return None
    return max(1, int(_USABLE_FRACTION * free / candidate_bytes))


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device, or this machine and container, has left; None where nobody can say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    sizes = [
        size for size in (_available_system_memory(), _free_container_memory()) if size is not None
    ]
    return min(sizes, default=None)


def total_memory(device: torch.device) -> int | None:
    """Bytes that a device has, or that a process of this machine may have; None where unknown."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    kibibytes = _read_table_entry(_MEMINFO, "MemTotal:")
    sizes = [None if kibibytes is None else kibibytes * 1024, _container_memory_limit()]
    for resource_kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft_limit, _ = resource.getrlimit(resource_kind)
        sizes.append(None if soft_limit == resource.RLIM_INFINITY else soft_limit)
    return min((size for size in sizes if size is not None), default=None)


def _available_system_memory() -> int | None:
    """What Linux says is available; free pages elsewhere, where the system tells."""
    kibibytes = _read_table_entry(_MEMINFO, "MemAvailable:")
    if kibibytes is not None:
        return kibibytes * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _free_container_memory() -> int | None:
    """What the container's limit leaves; None without one."""
    limit, used = _container_memory_limit(), _read_number(_CGROUP / "memory.current")
    if limit is None or used is None:
        return None
    # Pages of files that nobody used lately count as used, and are given up when memory is wanted.
    reclaimed = _read_table_entry(_CGROUP / "memory.stat", "inactive_file") or 0
    return max(limit - used + reclaimed, 0)


def _container_memory_limit() -> int | None:
    """What a container may use (control groups, version 2); None without a limit."""
    return _read_number(_CGROUP / "memory.max")


def _read_number(file: Path) -> int | None:
    """The number that one of the kernel's files holds; None where it holds none."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _read_table_entry(table: Path, name: str) -> int | None:
    """A number of one of the kernel's tables; None where there is none."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.split()[:1] == [name]]
    return int(values[0]) if values else None


_GIB = 2**30
_MIB = 2**20
# Below it a whole number of GiB would make one class of what differs by a third and more.
_WHOLE_GIB_FROM = 4 * _GIB


def classify_device(device: torch.device) -> str:
    """The class of a device here; of a CPU, by the memory that a process of it may have."""
    size = total_memory(device)
    device_kind = (
        f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
    )
    if size is None:
        return device_kind
    return f"{device_kind}{', ' if device.type == 'cuda' else ': '}{_format_coarse_size(size)}"


def _format_coarse_size(size: int) -> str:
    """A size so coarse that machines which are sold as equal are of one class."""
    if size >= _WHOLE_GIB_FROM:
        return f"{round(size / _GIB)} GiB"
    return f"{max(1, round(size / _MIB / 64)) * 64} MiB"
