"""The finite set of points that a space's variables may take together.

A variable is one width, or several tied ones. Variables that no constraint links, however
indirectly, are independent: each connected set has a `DiagramPaths` of its own, the count is the
product of theirs, and draws and lists are put together from theirs. Points are rows of value
indices here: row [0, 3] is the first variable's first value and the second's fourth.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import final

import numpy as np
import numpy.typing as npt

from .decision_diagram import IntArray, Relation
from .paths import DiagramPaths


@final
class Lattice:
    """All points of some variables that satisfy relations between pairs of them."""

    def __init__(self, sizes: Sequence[int], relations: Sequence[Relation]) -> None:
        """Split the variables into independent parts; see `DiagramPaths` for the arguments."""
        self._sizes = tuple(sizes)
        self._relations = tuple(relations)
        self._component_members = connected_components(
            len(self._sizes), [(relation.first, relation.second) for relation in self._relations]
        )
        self._components = [
            self._build_component(component_members)
            for component_members in self._component_members
        ]

    @property
    def is_empty(self) -> bool:
        """Whether no point satisfies all relations."""
        return any(component.is_empty for component in self._components)

    @cached_property
    def count(self) -> int:
        """The number of points, exact."""
        return prod(component.count for component in self._components)

    def points(self) -> IntArray:
        """Return every point once, in lexicographic order; [count, variables]."""
        points = np.empty((self.count, len(self._sizes)), dtype=np.int64)
        if self.is_empty:
            return points
        placement_order: list[int] = []
        repeats = self.count
        for members, component in zip(self._component_members, self._components, strict=True):
            rows = component.points()
            repeats //= len(rows)
            cycles = self.count // (repeats * len(rows))
            points[:, members] = np.tile(np.repeat(rows, repeats, axis=0), (cycles, 1))
            placement_order += [members[variable] for variable in component.placement_order]
        if placement_order == sorted(placement_order):
            return points
        return points[np.lexsort(points.T[::-1])]

    def sample(self, count: int, rng: np.random.Generator) -> IntArray:
        """Return independent uniform points, with replacement; [count, variables]."""
        points = np.empty((count, len(self._sizes)), dtype=np.int64)
        for members, component in zip(self._component_members, self._components, strict=True):
            points[:, members] = component.sample(count, rng)
        return points

    def min_cost_point(self, costs: Sequence[npt.NDArray[np.float64]]) -> IntArray | None:
        """Return the point with the least sum of costs, [variables]; None if all are infinite.

        Args:
            costs: for each variable the cost of each of its values.
        """
        point = np.empty(len(self._sizes), dtype=np.int64)
        for members, component in zip(self._component_members, self._components, strict=True):
            component_point = component.min_cost_point([costs[variable] for variable in members])
            if component_point is None:
                return None
            point[members] = component_point
        return point

    def neighbours(self, point: IntArray) -> IntArray:
        """Return the next points down and up along each variable, the others held; [m, variables].

        Values that break a relation are stepped over, so whatever moves along one variable alone
        can be reached, and a point is its neighbours' neighbour.
        """
        neighbour_points = []
        for variable, size in enumerate(self._sizes):
            allowed = np.ones(size, dtype=np.bool_)
            for relation in self._relations:
                if relation.second == variable:
                    allowed &= relation.allowed[point[relation.first]]
                elif relation.first == variable:
                    allowed &= relation.allowed[:, point[relation.second]]
            values = np.flatnonzero(allowed)
            position = int(np.searchsorted(values, point[variable]))
            for step in (position - 1, position + 1):
                if 0 <= step < len(values):
                    neighbour = point.copy()
                    neighbour[variable] = values[step]
                    neighbour_points.append(neighbour)
        return np.array(neighbour_points, dtype=np.int64).reshape(-1, len(self._sizes))

    def _build_component(self, members: Sequence[int]) -> DiagramPaths:
        index_by_variable = {variable: index for index, variable in enumerate(members)}
        return DiagramPaths(
            [self._sizes[variable] for variable in members],
            [
                Relation(
                    first=index_by_variable[relation.first],
                    second=index_by_variable[relation.second],
                    allowed=relation.allowed,
                )
                for relation in self._relations
                if relation.first in index_by_variable
            ],
        )


def connected_components(count: int, links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Partition 0 … count − 1 into the sets that links connect; ascending, by first member."""
    component_ids = list(range(count))
    for first, second in links:
        old, new = (
            max(component_ids[first], component_ids[second]),
            min(component_ids[first], component_ids[second]),
        )
        component_ids = [
            new if component_id == old else component_id for component_id in component_ids
        ]
    return [
        [member for member in range(count) if component_ids[member] == component_id]
        for component_id in sorted(set(component_ids))
    ]
