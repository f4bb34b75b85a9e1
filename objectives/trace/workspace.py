"""Workspaces: what a fused recurrent layer keeps for its backward pass, beside its results.

The kernel chooses the size (oneDNN pads rows and pages by rules of its own), and torch's shape rule
says 0; without gradients there is none. So the operator is run once for real with the shapes in
question, alone: nothing of the model is allocated but one layer's weights, input and results. Sizes
are kept by shapes.

The sizes are those of this machine's kernels; they are no polynomials of the widths, so candidates
with such layers are traced one by one.

Entry points: `WORKSPACES`, `workspace_bytes`, `workspaces`.
"""

from collections.abc import Hashable
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

WORKSPACES: dict[Any, int] = {torch.ops.aten.mkldnn_rnn_layer.default: 3}
"""Operators whose shape rules leave out a workspace, with its position among their results."""

MEASURED_BYTES = 1 << 28
"""Largest sum of an operator's arguments that is allocated to measure its workspace; 256 MiB,
so that no run takes longer than some seconds."""


def workspaces(func: Any, result: Any) -> tuple[Tensor, ...]:
    """Return the workspace among an operator's results, if it has one."""
    position = WORKSPACES.get(func)
    return () if position is None or result[position] is None else (result[position],)


def workspace_bytes(func: Any, args: tuple[Any, ...]) -> int | None:
    """Return the bytes of an operator's workspace, None where it is too large to be run.

    Args:
        func: One of `WORKSPACES`.
        args: Its arguments; of tensors only shape and type matter.
    """
    return _measured(func, tuple(_described(value) for value in args))


@lru_cache(maxsize=4_096)
def _measured(func: Any, described: tuple[Hashable, ...]) -> int | None:
    tensors = [value for value in described if isinstance(value, _Shape)]
    if sum(prod(one.shape) * one.dtype.itemsize for one in tensors) > MEASURED_BYTES:
        return None
    with _disable_current_modes(), torch.enable_grad():
        (workspace,) = workspaces(func, func(*map(_made, described)))
        return int(workspace.untyped_storage().nbytes())


class _Shape(tuple[tuple[int, ...], torch.dtype]):
    """Shape and type of a tensor argument."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self[0]

    @property
    def dtype(self) -> torch.dtype:
        return self[1]


def _described(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return _Shape((tuple(value.shape), value.dtype))
    if isinstance(value, list | tuple):
        return tuple(value)
    hashable: Hashable = value
    return hashable


def _made(described: Any) -> Any:
    if isinstance(described, _Shape):
        return torch.zeros(described.shape, dtype=described.dtype)
    return list(described) if isinstance(described, tuple) else described
