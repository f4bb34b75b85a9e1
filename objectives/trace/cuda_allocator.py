"""What torch's allocator will hold on a GPU, from the live bytes that were traced on a fake CPU.

    peak = max over the timeline of (live bytes + 511 × live storages)
    memory = (peak + cuBLAS workspace) × 1.10

The allocator rounds each storage up to a multiple of 512 bytes. Rounding is no polynomial of the
widths, an upper bound of it is: the number of live storages is the same for all candidates, so 511
bytes are added for each. cuBLAS takes its workspace with the first matrix product.

This is arithmetic on documented constants: **it has not been measured on a GPU here**. What it does
not know, and the margin must cover, are cuDNN's convolution workspaces, the rest of a cached block
of up to 1 MiB that the allocator does not split off, and operators that run other kernels, or
autocast to other types, than on the CPU. The space that cuDNN reserves for recurrent layers is not
covered: their figure is marked a lower bound. `cost.measure.measure_step` measures the real peak.

Entry points: `allocator_peak`, `cublas_workspace`, `ROUNDING_SLACK`.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
BytesT = TypeVar("BytesT", int, Integers)

ROUNDING = 512
"""Bytes; kMinBlockSize in c10/core/CachingDeviceAllocator.h of torch."""

ROUNDING_SLACK = ROUNDING - 1
"""Most bytes that rounding adds to one storage."""

CUBLAS_WORKSPACE = 8_519_680
"""Bytes, 4096 KiB × 2 + 16 KiB × 8; CUBLAS_WORKSPACE_CONFIG ":4096:2:16:8", torch's default."""

CUBLAS_WORKSPACE_HOPPER = 33_554_432
"""Bytes, 32 MiB; torch's default from compute capability 9.0 (getChosenWorkspaceSize)."""

HOPPER = (9, 0)
"""Compute capability from which the larger workspace is taken."""

MARGIN_PERCENT = 10
"""Share added for what is not known; the accuracy that is asked of the figure on a GPU."""


def cublas_workspace(capability: tuple[int, int] | None) -> int:
    """Return the bytes that cuBLAS keeps; of the newest kind where the GPU is not known."""
    before_hopper = capability is not None and capability < HOPPER
    return CUBLAS_WORKSPACE if before_hopper else CUBLAS_WORKSPACE_HOPPER


def allocator_peak(peak: BytesT, capability: tuple[int, int] | None) -> BytesT:
    """Return the bytes that torch's allocator is expected to hold at most.

    memory = (peak + workspace) + margin, the margin rounded up. Worked example: 100 MiB of rounded
    live bytes on compute capability 8.0: (104,857,600 + 8,519,680) × 1.10 = 124,715,008.

    Args:
        peak: Live bytes with `ROUNDING_SLACK` for each live storage; a number, or an array of them.
        capability: Compute capability of the GPU, None where it is not known.
    """
    allocated = peak + cublas_workspace(capability)
    # In this order no product can exceed 64 bits before the sum itself does.
    return (
        allocated + allocated // 100 * MARGIN_PERCENT - -(allocated % 100 * MARGIN_PERCENT) // 100
    )
