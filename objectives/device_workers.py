"""How many workers share this process's device: whoever starts workers says it in a variable.

What a process takes for itself of a device's memory, it takes of its own part.

Entry point: `device_workers`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

DEVICE_WORKERS_VARIABLE = "WIDTHWISE_DEVICE_WORKERS"
"""Workers on the device of the process, itself included; 1 where it is not set."""


def device_workers(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many workers share the device, at least 1."""
    text = environment.get(DEVICE_WORKERS_VARIABLE, "")
    return max(1, int(text)) if text.isascii() and text.isdigit() else 1
