"""The decision diagram: a layered graph whose paths are the points of a constrained lattice.

The variables are placed one after another. After each placement only the *frontier* matters: the
values of those variables that a constraint still links to one not yet placed. All partial
placements with the same frontier have the same futures, so they share one *state*, and the lattice
becomes a layered graph whose paths are exactly its points:

    root --value of variable 1--> state --value of variable 2--> … --> end

For a chain x1 ≥ x2 ≥ … of d variables with v values each it has d·v²/2 edges where the full
product has v^d points. All values are indices into a variable's list of values.
`build_decision_diagram` makes the graph; `paths` counts, lists and draws its paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod
from typing import final

import numpy as np
import numpy.typing as npt

from ..errors import SpaceTooLarge

MAX_WORK_STEPS = 2**24
"""Most pairs of a state and a value examined; bounds set-up at about a second and 200 MB."""

IntArray = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Relation:
    """Which values two variables may have together."""

    first: int
    """Index of a variable."""
    second: int
    """Index of another variable."""
    allowed: npt.NDArray[np.bool_]
    """True where the pair may occur; [values of first, values of second]."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """The edges that place one variable, grouped by the state they leave, values ascending."""

    variable: int
    """The variable placed."""
    edge_offsets: IntArray
    """First edge of each state, and the number of edges at the end; [states + 1]."""
    values: npt.NDArray[np.int32]
    """The value each edge gives to the variable; [edges]."""
    targets: npt.NDArray[np.int32]
    """The state of the next layer each edge leads to; [edges]."""


def build_decision_diagram(sizes: Sequence[int], relations: Sequence[Relation]) -> list[Layer]:
    """Return the graph of all points; without an edge in any layer if there is no point.

    Args:
        sizes: the number of values of each variable.
        relations: the allowed pairs; several may speak of the same two variables.

    Raises:
        SpaceTooLarge: the graph takes more than `MAX_WORK_STEPS` steps.
    """
    return _prune_dead_ends(_DiagramBuilder(sizes, relations).build())


@final
class _DiagramBuilder:
    """Places variable after variable, with one state for each frontier that can be reached."""

    def __init__(self, sizes: Sequence[int], relations: Sequence[Relation]) -> None:
        self._sizes = sizes
        self._relations = relations
        self._adjacent: list[set[int]] = [set() for _ in sizes]
        for relation in relations:
            self._adjacent[relation.first].add(relation.second)
            self._adjacent[relation.second].add(relation.first)

    def _placement_order(self) -> tuple[int, ...]:
        """Order variables greedily: next the one that leaves the fewest possible states."""
        order: list[int] = []
        frontier: list[int] = []
        unplaced = set(range(len(self._sizes)))
        while unplaced:
            next_variable = min(
                unplaced,
                key=lambda variable: (
                    prod(
                        self._sizes[v] for v in self._frontier_after(frontier, variable, unplaced)
                    ),
                    variable,
                ),
            )
            frontier = self._frontier_after(frontier, next_variable, unplaced)
            unplaced.remove(next_variable)
            order.append(next_variable)
        return tuple(order)

    def _frontier_after(
        self, frontier: Sequence[int], variable: int, unplaced: AbstractSet[int]
    ) -> list[int]:
        """Return the frontier once the variable is placed too."""
        return [
            member
            for member in (*frontier, variable)
            if (self._adjacent[member] & unplaced) - {variable}
        ]

    def build(self) -> list[Layer]:
        """Place variable after variable, with one state for each frontier that can be reached."""
        order = self._placement_order()
        layers, work_steps = [], 0
        frontier: list[int] = []
        states: IntArray = np.zeros((1, 0), dtype=np.int64)
        unplaced = set(order)
        for variable in order:
            next_frontier = self._frontier_after(frontier, variable, unplaced)
            shape = [self._sizes[member] for member in next_frontier]
            work_steps += max(len(states) * self._sizes[variable], prod(shape))
            if work_steps > MAX_WORK_STEPS:
                raise SpaceTooLarge(
                    f"the constraints between {len(self._sizes)} widths of up to "
                    f"{max(self._sizes):,} values take more than {MAX_WORK_STEPS:,} steps to "
                    "count; drop a constraint or use larger steps"
                )
            allowed = self._allowed(frontier, states, variable)
            sources, values = np.nonzero(allowed)
            values_by_variable = dict(zip(frontier, states[sources].T, strict=True)) | {
                variable: values
            }
            state_keys = np.zeros(len(values), dtype=np.int64)
            for member, size in zip(next_frontier, shape, strict=True):
                state_keys = state_keys * size + values_by_variable[member]
            is_reached = np.zeros(prod(shape), dtype=np.bool_)
            is_reached[state_keys] = True
            layers.append(
                Layer(
                    variable=variable,
                    edge_offsets=_edge_offsets(allowed.sum(axis=1)),
                    values=values.astype(np.int32),
                    targets=(np.cumsum(is_reached) - 1)[state_keys].astype(np.int32),
                )
            )
            frontier, states = next_frontier, np.argwhere(is_reached.reshape(shape))
            unplaced.remove(variable)
        return layers

    def _allowed(
        self, frontier: Sequence[int], states: IntArray, variable: int
    ) -> npt.NDArray[np.bool_]:
        """Return which values of the variable each state allows; [states, values]."""
        allowed = np.ones((len(states), self._sizes[variable]), dtype=np.bool_)
        for relation in self._relations:
            if relation.second == variable and relation.first in frontier:
                allowed &= relation.allowed[states[:, frontier.index(relation.first)]]
            elif relation.first == variable and relation.second in frontier:
                allowed &= relation.allowed.T[states[:, frontier.index(relation.second)]]
        return allowed


def _prune_dead_ends(layers: Sequence[Layer]) -> list[Layer]:
    """Return the same paths, without the states and edges from which none reaches the end."""
    pruned = []
    is_alive = np.ones(1, dtype=np.bool_)
    for layer in reversed(layers):
        is_kept = is_alive[layer.targets]
        new_indices = np.cumsum(is_alive) - 1
        states = len(layer.edge_offsets) - 1
        sources = np.repeat(np.arange(states), np.diff(layer.edge_offsets))
        degrees = np.bincount(sources[is_kept], minlength=states)
        is_alive = degrees > 0
        pruned.append(
            Layer(
                variable=layer.variable,
                edge_offsets=_edge_offsets(degrees[is_alive]),
                values=layer.values[is_kept],
                targets=new_indices[layer.targets[is_kept]].astype(np.int32),
            )
        )
    return pruned[::-1]


def _edge_offsets(degrees: npt.NDArray[np.int64]) -> IntArray:
    return np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64)
