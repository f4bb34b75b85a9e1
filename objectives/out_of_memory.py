"""Running out of memory: an outcome of a trial, unlike any other exception.

Entry point: `is_out_of_memory`.
"""

import torch

# torch's CPU allocator raises a plain RuntimeError: "DefaultCPUAllocator: can't allocate memory"
# (or "not enough memory" on Windows); cuBLAS and cuDNN report CUBLAS_STATUS_ALLOC_FAILED.
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception means that memory, of the host or the device, ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
