"""How many candidates fit into memory together, by their predicted training memory.

A limit of the search is each candidate's own; what trains together has to fit the device as well.

Entry points: `fitting_together`, `free_memory`, `whole_memory`.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import torch

# Of what is free now: other processes, and what no count of live bytes sees, take the rest.
_USED = 0.6
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def fitting_together(largest: int | None, device: torch.device) -> int | None:
    """How many candidates may be trained at once, at least 1; None where nothing bounds it.

    Args:
        largest: Bytes that training the largest candidate takes; None where nobody knows.
        device: Where they are trained.
    """
    free = free_memory(device)
    if largest is None or free is None:
        return None
    return max(1, int(_USED * free / largest))


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device, or this machine and container, has left; None where nobody can say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    found = [one for one in (_available(), _left_in_container()) if one is not None]
    return min(found, default=None)


def whole_memory(device: torch.device) -> int | None:
    """Bytes that a device has, or that a process of this machine may have; None where unknown."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    kibibytes = _entry(_MEMINFO, "MemTotal:")
    found = [None if kibibytes is None else kibibytes * 1024, _limit_of_container()]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        allowed, _ = resource.getrlimit(kind)
        found.append(None if allowed == resource.RLIM_INFINITY else allowed)
    return min((one for one in found if one is not None), default=None)


def _available() -> int | None:
    """What Linux says is available; free pages elsewhere, where the system tells."""
    kibibytes = _entry(_MEMINFO, "MemAvailable:")
    if kibibytes is not None:
        return kibibytes * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _left_in_container() -> int | None:
    """What the container's limit leaves; None without one."""
    limit, used = _limit_of_container(), _number(_CGROUP / "memory.current")
    if limit is None or used is None:
        return None
    # Pages of files that nobody used lately count as used, and are given up when memory is wanted.
    reclaimed = _entry(_CGROUP / "memory.stat", "inactive_file") or 0
    return max(limit - used + reclaimed, 0)


def _limit_of_container() -> int | None:
    """What a container may use (control groups, version 2); None without a limit."""
    return _number(_CGROUP / "memory.max")


def _number(file: Path) -> int | None:
    """The number that one of the kernel's files holds; None where it holds none."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _entry(table: Path, name: str) -> int | None:
    """A number of one of the kernel's tables; None where there is none."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.split()[:1] == [name]]
    return int(found[0]) if found else None


_GIB = 2**30
_MIB = 2**20
# Below it a whole number of GiB would make one class of what differs by a third and more.
_COARSE = 4 * _GIB


def device_class(device: torch.device) -> str:
    """The class of a device here; of a CPU, by the memory that a process of it may have."""
    size = whole_memory(device)
    kind = f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
    if size is None:
        return kind
    return f"{kind}{', ' if device.type == 'cuda' else ': '}{_shown(size)}"


def _shown(size: int) -> str:
    """A size so coarse that machines which are sold as equal are of one class."""
    if size >= _COARSE:
        return f"{round(size / _GIB)} GiB"
    return f"{max(1, round(size / _MIB / 64)) * 64} MiB"
