"""Steps of one layer on the lattice: the next wider or narrower network that the space allows.

Tied widths move together, and a layer that is absent takes no step. Where an order forbids to
widen a layer alone, those that it must not exceed are widened with it; values that are not
divisible as asked are stepped over.

Entry points: `layers_of`, `wider`, `narrower`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...space.constraints import Order, Tie
from ...space.space import Space
from ...space.width import ABSENT

Row = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A width, or several that are tied.

    Attributes:
        columns: Their columns in the space.
        names: Their names.
        values: What they may be where the layer is there, ascending.
    """

    columns: tuple[int, ...]
    names: tuple[str, ...]
    values: tuple[int, ...]

    @property
    def title(self) -> str:
        """What people call it."""
        return " = ".join(self.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """A change of one layer.

    Attributes:
        row: The changed candidate, [d].
        start: Width of the layer before.
        end: Width after.
        moved_along: Names of the other widths that an order moves with it.
    """

    row: Row
    start: int
    end: int
    moved_along: tuple[str, ...] = ()

    @property
    def octaves(self) -> float:
        """Doublings or halvings of the layer's width, above 0."""
        return abs(float(np.log2(self.end / self.start)))

    @property
    def sign(self) -> int:
        """1 where it gets wider, −1 where narrower."""
        return 1 if self.end > self.start else -1


def layers_of(space: Space) -> list[Layer]:
    """Return the layers of a space that can be changed, tied widths as one."""
    groups = [{name} for name in space.names]
    for constraint in space.constraints:
        if isinstance(constraint, Tie):
            joined = [group for group in groups if group & set(constraint.names)]
            groups = [group for group in groups if not group & set(constraint.names)]
            groups.append(set().union(*joined))
    layers = []
    for group in groups:
        columns = tuple(column for column, name in enumerate(space.names) if name in group)
        values = set.intersection(*(set(space.widths[column].values) for column in columns))
        layers.append(
            Layer(
                columns=columns,
                names=tuple(space.names[column] for column in columns),
                values=tuple(sorted(values - {ABSENT})),
            )
        )
    return sorted((layer for layer in layers if len(layer.values) > 1), key=lambda x: x.columns)


def wider(space: Space, row: Row, layer: Layer, factor: float = 1.0) -> Step | None:
    """Return the least widening of a layer by more than nothing and by a factor at least.

    Args:
        space: The lattice.
        row: Where to start, [d].
        layer: What to widen.
        factor: 2 for a doubling.

    Returns:
        The step, or None where the range ends, a constraint forbids it or the layer is absent.
    """
    width = int(row[layer.columns[0]])
    if width == ABSENT:
        return None
    values = [value for value in layer.values if value > width and value >= factor * width]
    return _first_allowed(space, row, layer, values)


def narrower(space: Space, row: Row, layer: Layer, factor: float = 1.0) -> Step | None:
    """Return the least narrowing of a layer by a factor at least; None where there is none."""
    width = int(row[layer.columns[0]])
    values = [value for value in layer.values if value < width and value * factor <= width]
    return _first_allowed(space, row, layer, values[::-1])


def _first_allowed(space: Space, row: Row, layer: Layer, values: Sequence[int]) -> Step | None:
    """Return the first of the values that the layer can take, alone or with others."""
    if not values:
        return None
    rows = np.tile(row, (len(values), 1))
    rows[:, layer.columns] = np.asarray(values)[:, None]
    allowed = np.flatnonzero(space.contains_rows(rows))
    start = int(row[layer.columns[0]])
    if len(allowed):
        index = int(allowed[0])
        return Step(row=rows[index], start=start, end=values[index])
    for index, value in enumerate(values):
        pushed = _push(space, rows[index], up=value > start)
        if space.contains_rows(pushed[None, :])[0]:
            moved = [
                name
                for column, name in enumerate(space.names)
                if pushed[column] != row[column] and column not in layer.columns
            ]
            return Step(row=pushed, start=start, end=value, moved_along=tuple(moved))
    return None


def _push(space: Space, row: Row, *, up: bool) -> Row:
    """Return a row whose other widths were moved as orders and ties ask, as far as they can."""
    pushed = row.copy()
    column_of = {name: column for column, name in enumerate(space.names)}
    links = [
        (column_of[first], column_of[second], constraint)
        for constraint in space.constraints
        if isinstance(constraint, Order | Tie)
        for first, second in constraint.links()
    ]
    for _ in range(space.dimensions):  # a push travels one link a round at least
        for first, second, constraint in links:
            if constraint.holds(pushed[first], pushed[second]):
                continue
            small, large = (first, second) if pushed[first] < pushed[second] else (second, first)
            # Upwards the smaller of the two follows, downwards the larger.
            follower, leader = (small, large) if up else (large, small)
            values = np.asarray(space.widths[follower].values)
            bound = pushed[leader]
            reachable = values[values >= bound] if up else values[values <= bound][::-1]
            if len(reachable):
                pushed[follower] = reachable[0]
    return pushed
