"""How a replay calls an operator: the fastest function that gives the same bits.

An overload (`torch.ops.aten.mm.default`) takes twice as long to call as torch's own Python binding
of it (`torch.mm`). Max pooling, a quarter of a small convolutional network's step, is several times
as fast on images with channels last, the conversions included.

AdamW counts the steps of each parameter in a tensor of its own; when these share one memory
(`pack_scalars`), one call increments them all.

Entry points: `fastest_callable`, `pack_scalars`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .tape import Call, Geometry, TensorId

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

_FOREACH_ADD = torch.ops.aten._foreach_add_.Scalar

MIN_POOLED_CHANNELS = 8
"""Fewest channels at which max pooling is faster with channels last (measured)."""


def fastest_callable(
    call: Call, geometry: Sequence[Geometry], constants: Mapping[TensorId, Tensor]
) -> Callable[..., Any]:
    """Return a function that does what a call's operator does.

    Args:
        call: The call.
        geometry: Sizes and strides of every tensor.
        constants: Tensors that are the same in every step.
    """
    if call.operator is _MAX_POOL and _is_channels_first(geometry[call.arguments[0]]):
        return _max_pool
    if call.operator is _FOREACH_ADD and all(tensor_id in constants for tensor_id in call.inputs):
        packed = _packed_vector([constants[tensor_id] for tensor_id in call.inputs])
        if packed is not None:
            return lambda _, addend: packed.add_(addend)
    namespace, _, name = call.operator._schema.name.partition("::")
    if namespace == "aten" and name in _FUNCTIONS:
        return getattr(torch, name)  # type: ignore[no-any-return]
    if namespace == "aten" and name in _METHODS:
        return getattr(Tensor, name)  # type: ignore[no-any-return]
    return call.operator  # type: ignore[no-any-return]


def _is_channels_first(geometry: Geometry) -> bool:
    """Return whether these are contiguous images `[rows, channels, h, w]` of enough channels."""
    _, shape, strides = geometry[:3]
    if len(shape) != 4 or shape[1] < MIN_POOLED_CHANNELS:
        return False
    _, channels, height, width = shape
    return bool(strides == (channels * height * width, height * width, width, 1))


def _max_pool(images: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """Return the largest of each window and its index; a maximum is free of rounding."""
    largest, indices = _MAX_POOL(images.contiguous(memory_format=torch.channels_last), *options)
    return largest.contiguous(), indices.contiguous()


def pack_scalars(scalars: Sequence[Tensor]) -> None:
    """Move the values of scalar tensors into one memory, in order; the objects stay the same."""
    for scalar, element in zip(scalars, torch.stack(list(scalars)).unbind(), strict=True):
        scalar.data = element


def _packed_vector(scalars: Sequence[Tensor]) -> Tensor | None:
    """Return the vector that scalars make up together; None if they do not share one memory."""
    storage = scalars[0].untyped_storage()
    for index, scalar in enumerate(scalars):
        if (
            scalar.ndim
            or scalar.storage_offset() != index
            or scalar.untyped_storage()._cdata != storage._cdata
        ):
            return None
    packed = torch.empty(0, dtype=scalars[0].dtype).set_(storage)
    return packed if len(packed) == len(scalars) else None
