"""Attention under `vmap`: computed by operations that can be mapped over a stack.

Entry point: `mappable_attention`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def mappable_attention(device: torch.device) -> Iterator[None]:
    """Make attention be computed by operations that can be mapped over a stack.

    torch can map neither the CPU's flash kernel nor the fast path of its encoder layer.
    """
    fastpath_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath_enabled)
