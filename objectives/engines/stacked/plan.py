"""Which networks share a stack: few stacks cost few operations, like sizes waste little.

A step of a stack takes as long as

    overhead + work · members · (parameters of the common widths)

with the overhead in the same unit, multiplications. Candidates are halved again and again, by the
width whose halves are cheapest, and of each family tree the cheapest generation is taken:

    best(group) = min(cost(group), best(one half) + best(other half))

Entry points: `Outline`, `Group`, `plan`, `halves`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
from torch import nn

from .padding import trainable


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What planning knows of a network.

    Attributes:
        place: In the team.
        widths: Of the candidate.
        shapes: Of its trainable parameters, in their order.
    """

    place: int
    widths: Mapping[str, int]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, place: int, widths: Mapping[str, int], model: nn.Module) -> "Outline":
        """Return a model's outline."""
        shapes = tuple(tuple(one.shape) for one in trainable(model).values())
        return cls(place=place, widths=widths, shapes=shapes)

    @property
    def parameters(self) -> int:
        """Numbers to train."""
        return sum(map(prod, self.shapes))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Networks that share a stack.

    Attributes:
        places: Of the members, in the team.
        widths: The common widths: of each the largest.
    """

    places: tuple[int, ...]
    widths: Mapping[str, int]

    @classmethod
    def of(cls, outlines: Sequence[Outline]) -> "Group":
        """Return the group of these networks."""
        widths = {name: max(one.widths[name] for one in outlines) for name in outlines[0].widths}
        return cls(places=tuple(one.place for one in outlines), widths=widths)


def plan(outlines: Sequence[Outline], work: float, overhead: float) -> list[list[Outline]]:
    """Return the cheapest groups, networks of equal structure given.

    Args:
        outlines: At least one.
        work: Multiplications a parameter is used for in a step: rows, and positions in each.
        overhead: Of a stack's step, in multiplications.
    """
    return _best(list(outlines), work, overhead)[1]


def halves(outlines: Sequence[Outline]) -> tuple[list[Outline], list[Outline]] | None:
    """Return the two halves that waste least, cut at a width's middle; None for equal widths."""
    cuts = [cut for name in outlines[0].widths if (cut := _cut(outlines, name)) is not None]
    return min(cuts, key=lambda cut: _padded(cut[0]) + _padded(cut[1]), default=None)


def _best(
    outlines: list[Outline], work: float, overhead: float
) -> tuple[float, list[list[Outline]]]:
    """Return the cost of the cheapest generation, and its groups."""
    whole = overhead + work * _padded(outlines)
    saved = _padded(outlines) - sum(one.parameters for one in outlines)
    if work * saved <= overhead:  # no cut can save more than all that is wasted
        return whole, [outlines]
    cut = halves(outlines)
    if cut is None:
        return whole, [outlines]
    one, other = (_best(half, work, overhead) for half in cut)
    if one[0] + other[0] >= whole:
        return whole, [outlines]
    return one[0] + other[0], one[1] + other[1]


def _cut(outlines: Sequence[Outline], name: str) -> tuple[list[Outline], list[Outline]] | None:
    """Cut at the geometric middle of a width."""
    found = [one.widths[name] for one in outlines]
    low, high = min(found), max(found)
    if low == high:
        return None
    middle = sqrt(low * high)
    below = [one for one, width in zip(outlines, found, strict=True) if width <= middle]
    above = [one for one, width in zip(outlines, found, strict=True) if width > middle]
    return below, above


def _padded(outlines: Sequence[Outline]) -> int:
    """Return the numbers in the padded parameters of all members."""
    common = sum(
        prod(np.array(shapes).max(axis=0).tolist())
        for shapes in zip(*(one.shapes for one in outlines), strict=True)
    )
    return len(outlines) * int(common)
