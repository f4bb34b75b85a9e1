"""Layers under `vmap`: computed by operations that can be mapped over a stack.

Entry points: `mappable_attention`, `make_pooling_mappable`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
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


def make_pooling_mappable(template: nn.Module) -> None:
    """Make global average pooling be computed by operations that can be mapped, in place.

    Where its input lies in memory with the channels last, as that of a convolution may, torch
    gives the result the same layout by an operation that cannot be mapped. The values are equal.
    """
    for module in template.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d):
            module.register_forward_pre_hook(_contiguous)


def _contiguous(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(item.contiguous() if isinstance(item, Tensor) else item for item in inputs)
