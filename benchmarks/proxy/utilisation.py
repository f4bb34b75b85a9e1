"""How busy a GPU is while something runs on it.

Entry point: `watched`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean

import torch

EVERY_MS = 100


@contextmanager
def watched(device: torch.device) -> Iterator[list[float]]:
    """Watch a GPU inside `with`; the list gets its mean utilisation in percent.

    It is nvidia-smi's: the share of time in which at least one kernel ran. The list stays empty
    for a CPU, and where there is no such program.
    """
    found: list[float] = []
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        yield found
        return
    which = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    watch = subprocess.Popen(
        [
            "nvidia-smi",
            f"--id={which}",
            f"--loop-ms={EVERY_MS}",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield found
    finally:
        watch.terminate()
        seen, _ = watch.communicate()
        numbers = [float(line) for line in seen.split() if line.isdecimal()]
        found += [mean(numbers)] if numbers else []
