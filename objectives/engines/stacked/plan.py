"""Which networks share a stack: few stacks cost few operations, like sizes waste little.

A step of a stack takes as long as

    overhead + work · members · (parameters of the common widths)

with the overhead in the same unit, multiplications. Networks are halved recursively, at the width
whose halves are cheapest, and the cheapest partition in that tree is taken:

    best(group) = min(cost(group), best(one half) + best(other half))

Entry points: `PlannedNetwork`, `StackGroup`, `plan_groups`, `best_split`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
from torch import nn

from .padding import trainable_parameters


@dataclass(frozen=True, kw_only=True)
class PlannedNetwork:
    """What planning needs to know of a network.

    Attributes:
        index: Its index in the session.
        widths: The candidate's widths.
        shapes: Shapes of its trainable parameters, in their order.
    """

    index: int
    widths: Mapping[str, int]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, index: int, widths: Mapping[str, int], model: nn.Module) -> "PlannedNetwork":
        """Return what planning needs to know of a model."""
        shapes = tuple(tuple(parameter.shape) for parameter in trainable_parameters(model).values())
        return cls(index=index, widths=widths, shapes=shapes)

    @property
    def parameter_count(self) -> int:
        """Numbers that are trained."""
        return sum(map(prod, self.shapes))


@dataclass(frozen=True, kw_only=True)
class StackGroup:
    """Networks that share a stack.

    Attributes:
        indices: Indices of the members in the session.
        widths: The common widths: the largest of each.
    """

    indices: tuple[int, ...]
    widths: Mapping[str, int]

    @classmethod
    def of(cls, networks: Sequence[PlannedNetwork]) -> "StackGroup":
        """Return the group of these networks."""
        widths = {
            name: max(network.widths[name] for network in networks) for name in networks[0].widths
        }
        return cls(indices=tuple(network.index for network in networks), widths=widths)


def plan_groups(
    networks: Sequence[PlannedNetwork], step_macs: float, overhead_macs: float
) -> list[list[PlannedNetwork]]:
    """Return the cheapest groups of networks of equal structure.

    Args:
        networks: At least one.
        step_macs: Multiplications that a parameter takes part in, in a step: rows times positions.
        overhead_macs: Cost of a stack's step, in multiplications.
    """
    return _cheapest_groups(list(networks), step_macs, overhead_macs)[1]


def best_split(
    networks: Sequence[PlannedNetwork],
) -> tuple[list[PlannedNetwork], list[PlannedNetwork]] | None:
    """Return the two halves that pad least, cut at a width's middle; None for equal widths."""
    splits = [
        split
        for name in networks[0].widths
        if (split := _split_at_middle(networks, name)) is not None
    ]
    return min(
        splits, key=lambda split: _padded_size(split[0]) + _padded_size(split[1]), default=None
    )


def _cheapest_groups(
    networks: list[PlannedNetwork], step_macs: float, overhead_macs: float
) -> tuple[float, list[list[PlannedNetwork]]]:
    """Return the cost of the cheapest partition, and its groups."""
    joint_cost = overhead_macs + step_macs * _padded_size(networks)
    padding = _padded_size(networks) - sum(left.parameter_count for left in networks)
    if step_macs * padding <= overhead_macs:  # no cut can save more than all that is wasted
        return joint_cost, [networks]
    split = best_split(networks)
    if split is None:
        return joint_cost, [networks]
    left, right = (_cheapest_groups(half, step_macs, overhead_macs) for half in split)
    if left[0] + right[0] >= joint_cost:
        return joint_cost, [networks]
    return left[0] + right[0], left[1] + right[1]


def _split_at_middle(
    networks: Sequence[PlannedNetwork], name: str
) -> tuple[list[PlannedNetwork], list[PlannedNetwork]] | None:
    """Return two halves, cut at the geometric middle of a width."""
    widths = [network.widths[name] for network in networks]
    low, high = min(widths), max(widths)
    if low == high:
        return None
    middle = sqrt(low * high)
    below = [network for network, width in zip(networks, widths, strict=True) if width <= middle]
    above = [network for network, width in zip(networks, widths, strict=True) if width > middle]
    return below, above


def _padded_size(networks: Sequence[PlannedNetwork]) -> int:
    """Return the numbers in the padded parameters of all members."""
    common = sum(
        prod(np.array(shapes).max(axis=0).tolist())
        for shapes in zip(*(network.shapes for network in networks), strict=True)
    )
    return len(networks) * int(common)
