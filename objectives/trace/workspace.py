"""Workspaces: what a fused recurrent layer keeps for its backward pass, beside its results.

The kernel chooses the size (oneDNN pads rows and pages by rules of its own), and torch's shape rule
says 0; without gradients there is none. So the operator is run once for real with the shapes in
question, alone: nothing of the model is allocated but one layer's weights, input and results. Sizes
are kept by shapes.

The sizes are those of this machine's kernels; they are no polynomials of the widths, so candidates
with such layers are traced one by one.

Entry points: `WORKSPACE_POSITIONS`, `workspace_bytes`, `workspace_tensors`.
"""

from collections.abc import Hashable
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

WORKSPACE_POSITIONS: dict[Any, int] = {torch.ops.aten.mkldnn_rnn_layer.default: 3}
"""Operators whose shape rules leave out a workspace, with its position among their results."""

MAX_MEASURED_BYTES = 1 << 28
"""Largest sum of an operator's arguments that is allocated to measure its workspace; 256 MiB,
so that no run takes longer than some seconds."""


def workspace_tensors(func: Any, result: Any) -> tuple[Tensor, ...]:
    """Return the workspace among an operator's results, if it has one."""
    position = WORKSPACE_POSITIONS.get(func)
    return () if position is None or result[position] is None else (result[position],)


def workspace_bytes(func: Any, args: tuple[Any, ...]) -> int | None:
    """Return the bytes of an operator's workspace, None where it is too large to be run.

    Args:
        func: One of `WORKSPACE_POSITIONS`.
        args: Its arguments; of tensors only shape and type matter.
    """
    return _measure_workspace(func, tuple(_describe(value) for value in args))


@lru_cache(maxsize=4_096)
def _measure_workspace(func: Any, arguments: tuple[Hashable, ...]) -> int | None:
    tensors = [value for value in arguments if isinstance(value, _TensorDescription)]
    if sum(prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors) > MAX_MEASURED_BYTES:
        return None
    with _disable_current_modes(), torch.enable_grad():
        (workspace,) = workspace_tensors(func, func(*map(_materialise, arguments)))
        return int(workspace.untyped_storage().nbytes())


class _TensorDescription(tuple[tuple[int, ...], torch.dtype]):
    """Shape and type of a tensor argument."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self[0]

    @property
    def dtype(self) -> torch.dtype:
        return self[1]


def _describe(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return _TensorDescription((tuple(value.shape), value.dtype))
    if isinstance(value, list | tuple):
        return tuple(value)
    hashable: Hashable = value
    return hashable


def _materialise(description: Any) -> Any:
    if isinstance(description, _TensorDescription):
        return torch.zeros(description.shape, dtype=description.dtype)
    return list(description) if isinstance(description, tuple) else description
