"""How busy a GPU is while something runs on it.

Entry point: `measure_utilisation`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean

import torch

INTERVAL_MS = 100


@contextmanager
def measure_utilisation(device: torch.device) -> Iterator[list[float]]:
    """Measure a GPU inside `with`; its mean utilisation in percent is appended to the list.

    It is nvidia-smi's: the share of time in which at least one kernel ran. The list stays empty
    for a CPU, and where there is no such program.
    """
    utilisation: list[float] = []
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        yield utilisation
        return
    gpu_id = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    process = subprocess.Popen(
        [
            "nvidia-smi",
            f"--id={gpu_id}",
            f"--loop-ms={INTERVAL_MS}",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield utilisation
    finally:
        process.terminate()
        output, _ = process.communicate()
        samples = [float(line) for line in output.split() if line.isdecimal()]
        utilisation += [mean(samples)] if samples else []
