"""How a replay calls an operator: the quickest way to the same bits.

An overload (`torch.ops.aten.mm.default`) takes twice as long to call as torch's own Python binding
of it (`torch.mm`). And max pooling, a quarter of a small convolutional network's step, is several
times as fast on images whose channels lie together, the way there and back included.

AdamW counts the steps of each parameter in a tensor of its own; laid side by side
(`side_by_side`), they are counted up by one call.

Entry points: `quickest`, `side_by_side`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .tape import Call, Geometry, Slot

_FUNCTIONS: frozenset[str] = frozenset(
    [
        "_foreach_add_",
        "_fused_adamw_",
        "_log_softmax",
        "_scaled_dot_product_flash_attention_for_cpu",
        "add",
        "addmm",
        "bitwise_and",
        "bitwise_xor",
        "bmm",
        "cat",
        "convolution",
        "div",
        "embedding",
        "lt",
        "masked_fill",
        "mean",
        "mm",
        "mul",
        "native_batch_norm",
        "native_layer_norm",
        "neg",
        "relu",
        "sigmoid",
        "sub",
        "sum",
        "tanh",
    ]
)
_METHODS: frozenset[str] = frozenset(
    [
        "__rshift__",
        "add_",
        "as_strided",
        "bitwise_and_",
        "bitwise_xor_",
        "copy_",
        "expand",
        "mul_",
        "permute",
        "select",
        "t",
        "transpose",
        "unsqueeze",
        "view",
    ]
)
"""Operators whose Python binding takes the overload's arguments as they are."""

_MAX_POOL = torch.ops.aten.max_pool2d_with_indices.default

_ADD_TO_ALL = torch.ops.aten._foreach_add_.Scalar

POOLED_CHANNELS = 8
"""Fewest channels at which max pooling is faster with the channels together (measured)."""


def quickest(
    call: Call, geometry: Sequence[Geometry], fixed: Mapping[Slot, Tensor]
) -> Callable[..., Any]:
    """Return a function that does what a call's operator does.

    Args:
        call: The call.
        geometry: Sizes and strides of every slot.
        fixed: Tensors that are the same in every step.
    """
    if call.operator is _MAX_POOL and _channels_apart(geometry[call.arguments[0]]):
        return _max_pool
    if call.operator is _ADD_TO_ALL and all(slot in fixed for slot in call.inputs):
        row = _row([fixed[slot] for slot in call.inputs])
        if row is not None:
            return lambda _, number: row.add_(number)
    namespace, _, name = call.operator._schema.name.partition("::")
    if namespace == "aten" and name in _FUNCTIONS:
        return getattr(torch, name)  # type: ignore[no-any-return]
    if namespace == "aten" and name in _METHODS:
        return getattr(Tensor, name)  # type: ignore[no-any-return]
    return call.operator  # type: ignore[no-any-return]


def _channels_apart(geometry: Geometry) -> bool:
    """Whether these are contiguous images `[rows, channels, h, w]` of enough channels."""
    _, shape, strides = geometry[:3]
    if len(shape) != 4 or shape[1] < POOLED_CHANNELS:
        return False
    _, channels, height, width = shape
    return bool(strides == (channels * height * width, height * width, width, 1))


def _max_pool(images: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """Return the largest of each window and its place; like every choice, free of rounding."""
    largest, places = _MAX_POOL(images.contiguous(memory_format=torch.channels_last), *options)
    return largest.contiguous(), places.contiguous()


def side_by_side(scalars: Sequence[Tensor]) -> None:
    """Move scalar tensors into one piece of memory, in their order; they stay what they are."""
    for scalar, place in zip(scalars, torch.stack(list(scalars)).unbind(), strict=True):
        scalar.data = place


def _row(scalars: Sequence[Tensor]) -> Tensor | None:
    """Return scalars that make up a piece of memory as one tensor; None if they do not."""
    memory = scalars[0].untyped_storage()
    for place, one in enumerate(scalars):
        if (
            one.ndim
            or one.storage_offset() != place
            or one.untyped_storage()._cdata != memory._cdata
        ):
            return None
    row = torch.empty(0, dtype=scalars[0].dtype).set_(memory)
    return row if len(row) == len(scalars) else None
