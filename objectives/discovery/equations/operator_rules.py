"""What operators ask of their sizes that torch computes in kernels with fixed numbers.

A recurrent layer with hidden size H has G*H rows of weights, a row block for each of its G gates,
reads what the layer below gives, in both directions where there are two, and gives H numbers a
direction, or as many as it projects them to.

<<<<<<< HEAD
A bilinear layer's weight is [outputs, first inputs, second inputs]. A group norm has as many groups
as channels, or a fixed number that divides them.
=======
A bilinear layer's weight is [outputs, first inputs, second inputs]. Padding with a constant adds to
the last dimensions and keeps the others.
>>>>>>> d6e0a98 (Discovery: padding keeps the channels; the zoo at other sizes, each trained a step)

Entry point: `OPERATOR_RULES`, from torch's function to one of the same arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_CELL_GATES = {"lstm_cell": 4, "gru_cell": 3, "rnn_tanh_cell": 1, "rnn_relu_cell": 1}


def _layers_rule(kind: str) -> Callable[..., Any]:
    """Return the rule of a stack of recurrent layers, for batches and for packed sequences."""

    def rule(input: Tensor, second: Any, third: Any, *rest: Any) -> Any:  # noqa: A002
        packed = isinstance(second, Tensor) and isinstance(third, Tensor | tuple | list)
        packed = packed and not (rest and isinstance(rest[0], bool))
        if packed:
            states, (weights, bias, layers, _, _, bidirectional) = third, rest[:6]
        else:
            states, weights, (bias, layers, _, _, bidirectional) = second, third, rest[:5]
        hidden = states[0] if kind == "lstm" else states
        directions = 2 if bidirectional else 1
        width, outcome = input.shape[-1], hidden.shape[-1]
        size = states[1].shape[-1] if kind == "lstm" else outcome
        per_layer = len(weights) // (int(layers) * directions)
        for start in range(0, len(weights), per_layer):
            if start and start % (per_layer * directions) == 0:
                width = directions * outcome
            parts = weights[start : start + per_layer]
            _require_weights(parts, width, size, outcome, _GATES[kind], bias)
        output = input.new_empty((*input.shape[:-1], directions * outcome))
        if kind == "lstm":
            return output, torch.empty_like(states[0]), torch.empty_like(states[1])
        return output, torch.empty_like(hidden)

    return rule


def _cell_rule(kind: str) -> Callable[..., Any]:
    """Return the rule of one recurrent cell."""

    def rule(
        input: Tensor,  # noqa: A002
        states: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        hidden = states[0] if kind == "lstm_cell" else states
        size = hidden.shape[-1]
        biases = () if b_ih is None or b_hh is None else (b_ih, b_hh)
        parts = (w_ih, w_hh, *biases)
        _require_weights(parts, input.shape[-1], size, size, _CELL_GATES[kind], bool(biases))
        new = input.new_empty((*input.shape[:-1], size))
        return (new, torch.empty_like(new)) if kind == "lstm_cell" else new

    return rule


def _require_weights(
    parts: Sequence[Tensor], width: Any, size: Any, outcome: Any, gates: int, bias: Any
) -> None:
    """Raise a `RuntimeError` unless one layer's weights in one direction fit.

    Args:
        parts: (w_ih, w_hh), two biases where there are any, and the projection where there is one.
        width: Numbers that the layer reads.
        size: Its hidden size.
        outcome: Numbers that it gives.
        gates: Its number of gates.
        bias: Whether there are biases.
    """
    rows = gates * size
    expected = [(rows, width), (rows, outcome), *([(rows,), (rows,)] if bias else [])]
    if len(parts) > len(expected):
        expected.append((outcome, size))
    for part, shape in zip(parts, expected, strict=True):
        if len(part.shape) != len(shape) or any(
            bool(found != wanted) for found, wanted in zip(part.shape, shape, strict=True)
        ):
            raise RuntimeError(f"a recurrent weight has shape {tuple(part.shape)}, not {shape}")


def _bilinear_rule(
    first: Tensor, second: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Return a tensor of the size that a bilinear layer gives."""
    return functional.linear(first, weight[:, :, 0], bias) + functional.linear(
        second, weight[:, 0, :]
    )


def _group_norm_rule(
    input: Tensor,  # noqa: A002
    num_groups: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,  # noqa: ARG001
) -> Tensor:
    """Return a tensor of the size that a group norm gives; its kernel takes plain numbers only."""
    channels = input.shape[1]
    if bool(channels % num_groups != 0):
        raise RuntimeError(f"{channels} channels cannot be divided into {num_groups} groups")
    # Asked, an equality is noted: a norm of each channel by itself has as many groups as channels.
    _ = bool(channels == num_groups)
    for parameter in (weight, bias):
        if parameter is not None and bool(parameter.shape[0] != channels):
            raise RuntimeError(f"a group norm of {channels} channels has a weight of another size")
    return torch.empty_like(input)


def _pad_rule(
    input: Tensor,  # noqa: A002
    pad: Sequence[Any],
    mode: str = "constant",
    value: float | None = None,
) -> Tensor:
    """Return a tensor of the size that padding gives: `pad` is (before, after), the last first."""
    if mode != "constant":
        return functional.pad(input, pad, mode, value)
    sizes = list(input.shape)
    for index in range(len(pad) // 2):
        sizes[-1 - index] = sizes[-1 - index] + pad[2 * index] + pad[2 * index + 1]
    return input.new_empty(sizes)


OPERATOR_RULES: Mapping[Any, Callable[..., Any]] = {
    **{getattr(torch._VF, kind): _layers_rule(kind) for kind in _GATES},
    **{getattr(torch._VF, kind): _cell_rule(kind) for kind in _CELL_GATES},
    functional.bilinear: _bilinear_rule,
    functional.group_norm: _group_norm_rule,
    functional.pad: _pad_rule,
}
"""By the function that the layers call, and models that do without them."""
