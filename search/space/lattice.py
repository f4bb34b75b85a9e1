"""The finite set of points that a space's variables may take together.

A variable is one width, or several tied ones. Variables that no constraint links, however
indirectly, are independent: each connected set has a `Frontier` of its own, the count is the
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
from .paths import Frontier


@final
class Lattice:
    """All points of some variables that satisfy relations between pairs of them."""

    def __init__(self, sizes: Sequence[int], relations: Sequence[Relation]) -> None:
        """Split the variables into independent parts; see `Frontier` for the arguments."""
        self._sizes = tuple(sizes)
        self._relations = tuple(relations)
        self._members = groups(
            len(self._sizes), [(relation.first, relation.second) for relation in self._relations]
        )
        self._parts = [self._part(members) for members in self._members]

    @property
    def empty(self) -> bool:
        """Whether no point satisfies all relations."""
        return any(part.empty for part in self._parts)

    @cached_property
    def count(self) -> int:
        """The number of points, exact."""
        return prod(part.count for part in self._parts)

    def points(self) -> IntArray:
        """Every point once, in lexicographic order; [count, variables]."""
        points = np.empty((self.count, len(self._sizes)), dtype=np.int64)
        if self.empty:
            return points
        placed: list[int] = []
        repeats = self.count
        for members, part in zip(self._members, self._parts, strict=True):
            rows = part.points()
            repeats //= len(rows)
            cycles = self.count // (repeats * len(rows))
            points[:, members] = np.tile(np.repeat(rows, repeats, axis=0), (cycles, 1))
            placed += [members[variable] for variable in part.order]
        if placed == sorted(placed):
            return points
        return points[np.lexsort(points.T[::-1])]

    def sample(self, number: int, rng: np.random.Generator) -> IntArray:
        """Independent uniform points, with replacement; [number, variables]."""
        points = np.empty((number, len(self._sizes)), dtype=np.int64)
        for members, part in zip(self._members, self._parts, strict=True):
            points[:, members] = part.sample(number, rng)
        return points

    def cheapest(self, costs: Sequence[npt.NDArray[np.float64]]) -> IntArray | None:
        """The point with the least sum of costs, or None if every sum is infinite; [variables].

        Args:
            costs: for each variable the cost of each of its values.
        """
        point = np.empty(len(self._sizes), dtype=np.int64)
        for members, part in zip(self._members, self._parts, strict=True):
            found = part.cheapest([costs[variable] for variable in members])
            if found is None:
                return None
            point[members] = found
        return point

    def neighbours(self, point: IntArray) -> IntArray:
        """The next points down and up along each variable, the others held; [m, variables].

        Values that break a relation are stepped over, so whatever moves along one variable alone
        can be reached, and a point is its neighbours' neighbour.
        """
        steps = []
        for variable, size in enumerate(self._sizes):
            allowed = np.ones(size, dtype=np.bool_)
            for relation in self._relations:
                if relation.second == variable:
                    allowed &= relation.allowed[point[relation.first]]
                elif relation.first == variable:
                    allowed &= relation.allowed[:, point[relation.second]]
            values = np.flatnonzero(allowed)
            here = int(np.searchsorted(values, point[variable]))
            for step in (here - 1, here + 1):
                if 0 <= step < len(values):
                    moved = point.copy()
                    moved[variable] = values[step]
                    steps.append(moved)
        return np.array(steps, dtype=np.int64).reshape(-1, len(self._sizes))

    def _part(self, members: Sequence[int]) -> Frontier:
        place = {variable: index for index, variable in enumerate(members)}
        return Frontier(
            [self._sizes[variable] for variable in members],
            [
                Relation(
                    first=place[relation.first],
                    second=place[relation.second],
                    allowed=relation.allowed,
                )
                for relation in self._relations
                if relation.first in place
            ],
        )


def groups(number: int, links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Partition 0 … number - 1 into the sets that links connect; ascending, by first member."""
    label = list(range(number))
    for first, second in links:
        old, new = max(label[first], label[second]), min(label[first], label[second])
        label = [new if mark == old else mark for mark in label]
    return [
        [member for member in range(number) if label[member] == mark] for mark in sorted(set(label))
    ]
