"""Exact counting, uniform sampling and best-point search on a lattice with pairwise constraints.

The points are the paths of a layered graph, see `decision_diagram`. They are counted by adding path
counts backward; drawn by walking forward, each edge taken with the share of paths it leads to;
listed by following every edge, which never runs into a dead end; and the point that minimises a sum
of per-variable costs is a shortest path.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from .decision_diagram import IntArray, Relation, build_decision_diagram


@final
class DiagramPaths:
    """The layered graph of one connected set of variables."""

    def __init__(self, sizes: Sequence[int], relations: Sequence[Relation]) -> None:
        """Build the graph.

        Args:
            sizes: the number of values of each variable.
            relations: the allowed pairs; several may speak of the same two variables.

        Raises:
            SpaceTooLarge: the graph needs more than `MAX_WORK_STEPS` steps.
        """
        self._layers = build_decision_diagram(sizes, relations)
        self.placement_order = tuple(layer.variable for layer in self._layers)

    @property
    def is_empty(self) -> bool:
        """Whether no point satisfies all relations."""
        return not len(self._layers[0].values)

    @cached_property
    def count(self) -> int:
        """The number of points, exact."""
        if self.is_empty:
            return 0
        counts = np.ones(1, dtype=np.int64)
        for layer in reversed(self._layers):
            # Past 2^63 the same sums go on in Python's unbounded integers.
            if int(counts.max()) * int(np.diff(layer.edge_offsets).max()) >= 2**63:
                counts = counts.astype(object)
            counts = np.add.reduceat(counts[layer.targets], layer.edge_offsets[:-1])
        return int(counts[0])

    def points(self) -> IntArray:
        """Return every point once, lexicographic in placement order; [count, variables]."""
        states = np.zeros(0 if self.is_empty else 1, dtype=np.int64)
        points = np.zeros((len(states), len(self.placement_order)), dtype=np.int64)
        for layer in self._layers:
            degrees = np.diff(layer.edge_offsets)[states] if len(states) else states
            first_children = np.cumsum(degrees) - degrees
            parents = np.repeat(np.arange(len(states)), degrees)
            edges = np.arange(len(parents)) + np.repeat(
                layer.edge_offsets[states] - first_children, degrees
            )
            points = points[parents]
            points[:, layer.variable] = layer.values[edges]
            states = layer.targets[edges].astype(np.int64)
        return points

    def sample(self, count: int, rng: np.random.Generator) -> IntArray:
        """Return independent uniform points, with replacement; [count, variables]."""
        points = np.empty((count, len(self.placement_order)), dtype=np.int64)
        states = np.zeros(count, dtype=np.int64)
        for layer, cumulative_shares in zip(self._layers, self._cumulative_shares, strict=True):
            first, last = layer.edge_offsets[states], layer.edge_offsets[states + 1]
            thresholds = cumulative_shares[first] + rng.random(count) * (
                cumulative_shares[last] - cumulative_shares[first]
            )
            edges = np.searchsorted(cumulative_shares, thresholds, side="right") - 1
            edges = np.clip(edges, first, last - 1)
            points[:, layer.variable] = layer.values[edges]
            states = layer.targets[edges].astype(np.int64)
        return points

    def min_cost_point(self, costs: Sequence[npt.NDArray[np.float64]]) -> IntArray | None:
        """Return the point with the least sum of costs, or None if every sum is infinite.

        Args:
            costs: for each variable the cost of each of its values.

        Returns:
            The point's value indices; [variables]. Among equals the one with the smallest value of
            the variable placed first, then of the second, and so on.
        """
        if self.is_empty:
            return None
        costs_to_go = [np.zeros(1)]
        for layer in reversed(self._layers):
            edges = costs[layer.variable][layer.values] + costs_to_go[-1][layer.targets]
            costs_to_go.append(np.minimum.reduceat(edges, layer.edge_offsets[:-1]))
        if not np.isfinite(costs_to_go.pop()[0]):
            return None
        point = np.zeros(len(self.placement_order), dtype=np.int64)
        state = 0
        for layer, cost_to_go in zip(self._layers, reversed(costs_to_go), strict=True):
            outgoing = slice(layer.edge_offsets[state], layer.edge_offsets[state + 1])
            values, targets = layer.values[outgoing], layer.targets[outgoing]
            best_edge = int(np.argmin(costs[layer.variable][values] + cost_to_go[targets]))
            point[layer.variable], state = values[best_edge], int(targets[best_edge])
        return point

    @cached_property
    def _cumulative_shares(self) -> list[npt.NDArray[np.float64]]:
        """Per layer the running sum of each edge's share of its state's paths; [edges + 1]."""
        weights = np.ones(1)
        cumulative_shares = []
        for layer in reversed(self._layers):
            edges = weights[layer.targets]
            totals = np.add.reduceat(edges, layer.edge_offsets[:-1])
            # Each state's shares add to one, so no state is lost to another's rounding, and
            # rescaled totals never overflow however many points the lattice has.
            edges = edges / np.repeat(totals, np.diff(layer.edge_offsets))
            cumulative_shares.append(np.concatenate([[0.0], np.cumsum(edges)]))
            weights = totals / totals.max()
        return cumulative_shares[::-1]
