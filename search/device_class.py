"""Device classes: what one trial learned of a device's memory holds for all devices of its class.

A class is the kind of device and its memory, "cuda: NVIDIA H200, 140 GiB" or "cpu: 24 GiB": of two
workers of one class, what is too large for one is too large for the other.

Entry point: `device_class`.
"""

from __future__ import annotations

import torch

from .memory_plan import whole_memory

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
