"""Exact counting, uniform sampling and best-point search on a lattice with pairwise constraints.

The points are the paths of a layered graph, see `layers`. They are counted by adding path counts
backward; drawn by walking forward, each edge taken with the share of paths it leads to; listed by
following every edge, which never runs into a dead end; and the point that minimises a sum of
per-variable costs is a shortest path.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from .decision_diagram import IntArray, Relation, build_layers


@final
class Frontier:
    """The layered graph of one connected set of variables."""

    def __init__(self, sizes: Sequence[int], relations: Sequence[Relation]) -> None:
        """Build the graph.

        Args:
            sizes: the number of values of each variable.
            relations: the allowed pairs; several may speak of the same two variables.

        Raises:
            SpaceTooLarge: the graph needs more than `WORK` steps.
        """
        self._layers = build_layers(sizes, relations)
        self.order = tuple(layer.variable for layer in self._layers)

    @property
    def empty(self) -> bool:
        """Whether no point satisfies all relations."""
        return not len(self._layers[0].values)

    @cached_property
    def count(self) -> int:
        """The number of points, exact."""
        if self.empty:
            return 0
        counts = np.ones(1, dtype=np.int64)
        for layer in reversed(self._layers):
            # Past 2^63 the same sums go on in Python's unbounded integers.
            if int(counts.max()) * int(np.diff(layer.starts).max()) >= 2**63:
                counts = counts.astype(object)
            counts = np.add.reduceat(counts[layer.targets], layer.starts[:-1])
        return int(counts[0])

    def points(self) -> IntArray:
        """Every point once, lexicographic in placement order; [count, variables]."""
        states = np.zeros(0 if self.empty else 1, dtype=np.int64)
        points = np.zeros((len(states), len(self.order)), dtype=np.int64)
        for layer in self._layers:
            degrees = np.diff(layer.starts)[states] if len(states) else states
            before = np.cumsum(degrees) - degrees
            parents = np.repeat(np.arange(len(states)), degrees)
            edges = np.arange(len(parents)) + np.repeat(layer.starts[states] - before, degrees)
            points = points[parents]
            points[:, layer.variable] = layer.values[edges]
            states = layer.targets[edges].astype(np.int64)
        return points

    def sample(self, number: int, rng: np.random.Generator) -> IntArray:
        """Independent uniform points, with replacement; [number, variables]."""
        points = np.empty((number, len(self.order)), dtype=np.int64)
        states = np.zeros(number, dtype=np.int64)
        for layer, shares in zip(self._layers, self._shares, strict=True):
            first, last = layer.starts[states], layer.starts[states + 1]
            heights = shares[first] + rng.random(number) * (shares[last] - shares[first])
            edges = np.searchsorted(shares, heights, side="right") - 1
            edges = np.clip(edges, first, last - 1)
            points[:, layer.variable] = layer.values[edges]
            states = layer.targets[edges].astype(np.int64)
        return points

    def cheapest(self, costs: Sequence[npt.NDArray[np.float64]]) -> IntArray | None:
        """The point with the least sum of costs, or None if every sum is infinite.

        Args:
            costs: for each variable the cost of each of its values.

        Returns:
            The point's value indices; [variables]. Among equals the one with the smallest value of
            the variable placed first, then of the second, and so on.
        """
        if self.empty:
            return None
        ahead = [np.zeros(1)]
        for layer in reversed(self._layers):
            edges = costs[layer.variable][layer.values] + ahead[-1][layer.targets]
            ahead.append(np.minimum.reduceat(edges, layer.starts[:-1]))
        if not np.isfinite(ahead.pop()[0]):
            return None
        point = np.zeros(len(self.order), dtype=np.int64)
        state = 0
        for layer, rest in zip(self._layers, reversed(ahead), strict=True):
            leaving = slice(layer.starts[state], layer.starts[state + 1])
            values, targets = layer.values[leaving], layer.targets[leaving]
            best = int(np.argmin(costs[layer.variable][values] + rest[targets]))
            point[layer.variable], state = values[best], int(targets[best])
        return point

    @cached_property
    def _shares(self) -> list[npt.NDArray[np.float64]]:
        """Per layer the running sum of each edge's share of its state's paths; [edges + 1]."""
        weights = np.ones(1)
        shares = []
        for layer in reversed(self._layers):
            edges = weights[layer.targets]
            totals = np.add.reduceat(edges, layer.starts[:-1])
            # Each state's shares add to one, so no state drowns in another's rounding, and
            # rescaled totals never overflow however many points the lattice has.
            edges = edges / np.repeat(totals, np.diff(layer.starts))
            shares.append(np.concatenate([[0.0], np.cumsum(edges)]))
            weights = totals / totals.max()
        return shares[::-1]
