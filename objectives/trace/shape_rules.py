"""Where a CPU kernel's results differ from those that torch's shape rule gives.

A fake tensor has the shape, type and storage that an operator's shape rule says, not what the
kernel returns. Three kinds of operator differ, and `KERNEL_RESULTS` has a correction for each:

- norms of a lower precision than their weights (under autocast: bfloat16 input, float32 weights)
  keep mean and variance in float32, and the group norm's input gradient has the input's type;
- reducing losses return a scalar whose storage is as large as the unreduced loss;
- embedding bags that do not sum return an index with one element more.

Entry point: `KERNEL_RESULTS`, from operator to `correction(arguments, result) -> result`, called
where a new tensor becomes a fake one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_SUM_MODE = 0


def with_float_statistics(args: tuple[Any, ...], result: Any) -> Any:
    """Return a norm's (output, mean, reciprocal deviation), the statistics as the kernel types."""
    half_precision = result[0].dtype in (torch.bfloat16, torch.float16)
    mixed = any(isinstance(tensor, Tensor) and tensor.dtype == torch.float32 for tensor in args[1:])
    if not (half_precision and mixed):
        return result
    output, *statistics = result
    return (output, *(torch.empty_like(tensor, dtype=torch.float32) for tensor in statistics))


def with_input_dtype(args: tuple[Any, ...], result: Any) -> Any:
    """Return a group norm's gradients (input, weight, bias), the input's in the input's type."""
    gradient, *weight_gradients = result
    if gradient is None or gradient.dtype == args[1].dtype:
        return result
    return (torch.empty_like(gradient, dtype=args[1].dtype), *weight_gradients)


def with_unreduced_storage(args: tuple[Any, ...], result: Any) -> Any:
    """Return a loss; a scalar one in the storage of all the elements that it reduces."""
    if result.dim() == 0:
        broadcast_shape = torch.broadcast_shapes(args[0].shape, args[1].shape)  # type: ignore[no-untyped-call]
        _resize(result, broadcast_shape.numel() * result.element_size())
    return result


def with_end_of_bags(args: tuple[Any, ...], result: Any) -> Any:
    """Return an embedding bag's results, the index of bags with one element more unless summed."""
    if len(args) > 4 and args[4] != _SUM_MODE:
        index = result[1]
        _resize(index, index.untyped_storage().nbytes() + index.element_size())
    return result


def _resize(tensor: Tensor, size: int) -> None:
    tensor.untyped_storage().resize_(size)


KERNEL_RESULTS: Mapping[Any, Callable[[tuple[Any, ...], Any], Any]] = {
    aten.native_layer_norm.default: with_float_statistics,
    aten.native_group_norm.default: with_float_statistics,
    aten.native_batch_norm.default: with_float_statistics,
    # What the former becomes while FLOPs are counted.
    aten._native_batch_norm_legit.default: with_float_statistics,
    aten._native_batch_norm_legit.no_stats: with_float_statistics,
    aten.native_group_norm_backward.default: with_input_dtype,
    aten.mse_loss.default: with_unreduced_storage,
    aten.smooth_l1_loss.default: with_unreduced_storage,
    aten.soft_margin_loss.default: with_unreduced_storage,
    aten.binary_cross_entropy.default: with_unreduced_storage,
    aten._embedding_bag.default: with_end_of_bags,
    aten._embedding_bag_forward_only.default: with_end_of_bags,
}
"""Corrections by operator; no other operator is touched."""
