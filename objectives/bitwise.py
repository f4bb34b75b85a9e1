"""Tensors compared bit by bit: a NaN equals itself, and 0 is not -0.

Entry points: `bitwise_equal`, of tensors which `has_bits` of their own.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor


def bitwise_equal(left: Tensor, right: Tensor) -> bool:
    """Return whether two tensors are of one type and shape and hold the same bits."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    bits = (tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (left, right))
    return torch.equal(*bits)


def has_bits(value: Any) -> TypeGuard[Tensor]:
    """Return whether a value is a tensor whose numbers lie in memory one by one.

    Those of one that is sparse or quantised do not.
    """
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
