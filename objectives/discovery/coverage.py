"""The coverage report: every layer with a size that stays, and why.

Entry points: `fixed_layers`, `all_fixed`, `example_sizes`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import accumulate
from operator import mul
from typing import Any

from torch import nn

from ..training.step import TensorSpec
from .equations.solution import GIVEN, OUTPUT, Solution
from .groups import FixedLayer
from .searchable import NOT_USED, NUMBER_OF_EMBEDDINGS


def fixed_layers(
    model: nn.Module, solution: Solution, sizes: frozenset[int]
) -> tuple[FixedLayer, ...]:
    """Return the layers with a size that stays, in the model's order, with the reasons.

    Args:
        model: Whose layers they are.
        solution: What each symbol is.
        sizes: Sizes of the example, see `example_sizes`.
    """
    layers = []
    for path, module in model.named_modules():
        reasons: dict[str, None] = {}
        moves = False
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            dims = solution.symbols.parameters[f"{path}.{name}" if path else name]
            for dim, number in enumerate(dims):
                if number is None:
                    if parameter.shape[dim] == 1 and dim == _given_dim(module):
                        reasons[_reason_for_one(OUTPUT, solution.symbols.output_sizes)] = None
                    elif parameter.shape[dim] == 1 and dim == _read_dim(module, name, parameter):
                        reasons[_reason_for_one("input size", sizes)] = None
                    continue
                if solution.of(number).constant_value is None:
                    moves = True
                else:
                    reasons[_reason(module, dim, number, solution, sizes)] = None
        if reasons:
            layers.append(FixedLayer(path, "; ".join(reasons)))
        elif not moves and any(p is not None for p in module._parameters.values()):
            layers.append(FixedLayer(path, "a size of 1 broadcasts"))
    return tuple(layers)


def _reason(
    module: nn.Module, dim: int, number: int, solution: Solution, sizes: frozenset[int]
) -> str:
    value = solution.values[number]
    reason, origin = solution.reason(number)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and dim == 0 and reason != NOT_USED:
        reason = NUMBER_OF_EMBEDDINGS
    if reason == NOT_USED:
        return reason
    carried = reason.startswith(("attribute", "buffer"))
    if (reason == GIVEN or carried) and (value in sizes or origin in sizes):
        return f"input size ({value})"
    if carried and origin != value:
        return f"follows from {reason} ({value})"
    if reason == GIVEN:
        reason = "given by the example's shape or by forward"
    return f"{reason} ({value})"


def _given_dim(layer: nn.Module) -> int | None:
    """Return which dimension of a layer's weight is what it gives; None for other layers."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return 1
    return 0 if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) else None


def _read_dim(layer: nn.Module, name: str, parameter: nn.Parameter) -> int | None:
    """Return which dimension of a layer's parameter is what it reads.

    None for other layers and biases, and for convolutions in groups: a depthwise one has 1 there by
    nature.
    """
    if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        return 1 if name.startswith("weight_ih") else None
    given = _given_dim(layer)
    if given is None or parameter.dim() < 2 or getattr(layer, "groups", 1) != 1:
        return None
    return 1 - given


def _reason_for_one(reason: str, sizes: Container[int]) -> str:
    """Return why a size of 1 stays, which is no symbol: what broadcasts has that size, too."""
    return f"{reason} (1)" if 1 in sizes else "a size of 1 broadcasts"


def all_fixed(model: nn.Module, reason: str) -> tuple[FixedLayer, ...]:
    """Return every layer with parameters as fixed, for one reason."""
    return tuple(
        FixedLayer(path, reason)
        for path, module in model.named_modules()
        if any(parameter is not None for parameter in module._parameters.values())
    )


def example_sizes(inputs: Any) -> frozenset[int]:
    """Return the sizes of an example: its dimensions, and the products of neighbouring ones.

    Worked example: 3x32x32 has the sizes 3, 32, 96, 1024 and 3072.
    """
    return frozenset(
        product
        for spec in _specs(inputs)
        for start in range(len(spec.shape))
        for product in accumulate(spec.shape[start:], mul)
    )


def _specs(inputs: Any) -> Iterator[TensorSpec]:
    if isinstance(inputs, TensorSpec):
        yield inputs
    elif isinstance(inputs, Mapping):
        yield from _specs(list(inputs.values()))
    elif isinstance(inputs, Iterable) and not isinstance(inputs, str):
        for item in inputs:
            yield from _specs(item)
