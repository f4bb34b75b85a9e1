"""Norms of a lower precision than their weights: which results have which type.

Under autocast a norm takes a bfloat16 input and float32 weights. The CPU's kernels then keep mean
and variance in float32, and return the input's gradient as bfloat16; torch's shape rules differ.

Entry points: `with_float_statistics`, `with_input_dtype`, to be called where a new tensor becomes a
fake one.
"""

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

NORMS = (
    aten.native_layer_norm.default,
    aten.native_group_norm.default,
    aten.native_batch_norm.default,
    aten._native_batch_norm_legit.default,  # what the former becomes while FLOPs are counted
    aten._native_batch_norm_legit.no_stats,
)
"""Operators that return (output, mean, reciprocal deviation)."""

GROUP_NORM_BACKWARD = aten.native_group_norm_backward.default
"""Returns the gradients of input, weight and bias; its shape rule gives all of them one type."""


def with_float_statistics(args: tuple[Any, ...], result: Any) -> Any:
    """Return the results of one of `NORMS` with statistics as its kernel types them."""
    half_precision = result[0].dtype in (torch.bfloat16, torch.float16)
    mixed = any(isinstance(tensor, Tensor) and tensor.dtype == torch.float32 for tensor in args[1:])
    if not (half_precision and mixed):
        return result
    output, *statistics = result
    return (output, *(torch.empty_like(tensor, dtype=torch.float32) for tensor in statistics))


def with_input_dtype(args: tuple[Any, ...], result: Any) -> Any:
    """Return the results of `GROUP_NORM_BACKWARD` with the input's gradient as the input's type."""
    gradient, *weight_gradients = result
    if gradient is None or gradient.dtype == args[1].dtype:
        return result
    return (torch.empty_like(gradient, dtype=args[1].dtype), *weight_gradients)


_LOSSES = (
    aten.mse_loss.default,
    aten.smooth_l1_loss.default,
    aten.soft_margin_loss.default,
    aten.binary_cross_entropy.default,
)
_EMBEDDING_BAGS = (aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
_SUM_MODE = 0


def resize_to_kernel_storage(operation: Any, args: tuple[Any, ...], result: Any) -> None:
    """Give an operation's fake result the storage that the kernel would give it."""
    if operation in _LOSSES and result.dim() == 0:
        broadcast_shape = torch.broadcast_shapes(args[0].shape, args[1].shape)  # type: ignore[no-untyped-call]
        elements = broadcast_shape.numel()
        _resize(result, elements * result.element_size())
    elif operation in _EMBEDDING_BAGS and len(args) > 4 and args[4] != _SUM_MODE:
        index = result[1]
        _resize(index, index.untyped_storage().nbytes() + index.element_size())


def _resize(tensor: Tensor, size: int) -> None:
    tensor.untyped_storage().resize_(size)
