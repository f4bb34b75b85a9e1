"""Buffers at another size, where what they hold follows from it.

Known are constants, lower and upper triangles (causal masks), counts (positions), tables of sines
and cosines, and the inverse frequencies of rotary embeddings. What holds anything else is refused:
its values at another size are unknown.

Entry point: `resized_buffer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .errors import ResizeError

Rule = Callable[[Tensor, tuple[int, ...]], Tensor | None]
"""`(values, shape) -> what the rule gives for that shape`, None where it doesn't apply."""


def resized_buffer(name: str, old: Tensor, shape: Sequence[int]) -> Tensor:
    """Return what a buffer holds at another shape.

    Args:
        name: For the message.
        old: With its values.
        shape: The new one, of as many dimensions.

    Raises:
        ResizeError: No rule gives its values.
    """
    rules: Sequence[Rule] = (_constant, _triangle, _count, _sinusoids, _inverse_frequencies)
    for rule in () if old.is_complex() else rules:
        today = rule(old, tuple(old.shape))
        if today is None or not torch.allclose(
            today.double(), old.double(), rtol=1e-4, atol=1e-6, equal_nan=True
        ):
            continue
        new = rule(old, tuple(shape))
        if new is not None:
            return new.to(old.dtype).to(old.device)
    raise ResizeError(
        f"the buffer {name} of shape {tuple(old.shape)} holds values that are unknown at "
        f"{tuple(shape)}"
    )


def _constant(old: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    if old.numel() == 0:
        return None
    return torch.full(shape, old.flatten()[0].item())


def _triangle(old: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Return the matrix with one value on and below a diagonal, and another above."""
    if old.ndim < 2 or old.shape[-1] < 2 or old.shape[-2] < 2 or old.numel() == 0:
        return None
    matrix = old.reshape(-1, *old.shape[-2:])[0].double()
    for diagonal in (0, -1):

        def triangle(sizes: tuple[int, ...], diagonal: int = diagonal) -> Tensor:
            below = torch.ones(sizes[-2:], dtype=torch.bool).tril(diagonal)
            return torch.where(below, matrix[-1, 0], matrix[0, -1]).expand(sizes)

        if torch.equal(triangle(tuple(old.shape)), old.double()):
            return triangle(shape).clone()
    return None


def _count(old: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Return first, first + step, first + 2 * step, … along the only dimension above 1."""
    long = [dim for dim, size in enumerate(old.shape) if size > 1]
    if len(long) != 1:
        return None
    values = old.flatten().double()
    step = values[1] - values[0]
    return (values[0] + step * torch.arange(math.prod(shape)).double()).reshape(shape)


def _sinusoids(_: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Return sin and cos of position / 10000**(2 i / d), in turn: Vaswani et al. (2017)."""
    long = [size for size in shape if size > 1]
    if len(long) != 2 or long[1] % 2:
        return None
    positions, width = long
    rates = torch.exp(torch.arange(0, width, 2).double() * (-math.log(10_000.0) / width))
    angles = torch.arange(positions).double()[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(shape)


def _inverse_frequencies(old: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Return base**(-i / n), i from 0 to n - 1, of rotary embeddings with a round base."""
    if old.ndim != 1 or len(old) < 2 or not old.is_floating_point() or float(old[0]) != 1:
        return None
    if not float(old[1]) > 0:
        return None
    base = float(old[1].double()) ** -len(old)
    rounded = round(base / 1000) * 1000
    if rounded < 1000 or abs(base / rounded - 1) > 1e-3:
        return None
    return rounded ** (-torch.arange(shape[0]).double() / shape[0])
