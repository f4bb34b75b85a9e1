"""The feasible set: the candidates of a space whose known costs keep every limit.

A lattice that is small enough is enumerated once and its costs are evaluated at once; of a larger
one, `pool` draws feasible candidates anew. `FeasibleSet` never yields an infeasible candidate.
`FeasibleSet.from_candidates` makes one of a plain list of candidates, such as the rows of a table;
`FeasibleSet.excluding` one of another's candidates, but for those that a further test refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast, final

import numpy as np
from numpy.typing import NDArray

from ..errors import NothingFeasible
from .limits import Limits, describe_nothing_feasible
from .neighbourhood import Candidates, hash_rows, neighbours, unique_rows
from .space import Space

__all__ = [
    "COST_BATCH_SIZE",
    "Candidates",
    "CostFunction",
    "FeasibleSet",
    "hash_rows",
    "no_costs",
    "stack_rows",
]

T = TypeVar("T")
CostFunction = Callable[[Candidates], Mapping[str, NDArray[np.int64]]]
ExclusionTest = Callable[[Candidates], NDArray[np.bool_]]
"""Candidates [n, d] -> which of them to leave out, [n]."""

# Candidates whose costs are evaluated at once: 2^20 rows of polynomials take about a second.
COST_BATCH_SIZE = 2**20
# A draw of a lattice that is too large to enumerate.
_SAMPLE_SIZE = 4096
# Steps of the search for a first feasible candidate: each moves one width by one lattice step.
_DESCENT_STEPS = 2000


def no_costs(candidates: Candidates) -> dict[str, NDArray[np.int64]]:
    """The cost function of a search without limits."""
    del candidates
    return {}


@final
class FeasibleSet:
    """The feasible candidates of `space` under `limits`.

    Args:
        space: The lattice.
        limits: Upper bounds of the costs.
        cost_function: Costs by name, each [n], of candidates [n, d] in the space's order.
        cost_batch_size: How many candidates `cost_function` may be asked for in one go; small where each has to be
            traced, large where polynomials are evaluated.
    """

    enumerated: bool
    """Whether all candidates are known."""
    feasible_fraction: float
    """Share of the space that is feasible: exact where enumerated, else of a sample."""
    _known_candidates: Candidates

    def __init__(
        self,
        space: Space,
        limits: Limits,
        cost_function: CostFunction,
        *,
        cost_batch_size: int = COST_BATCH_SIZE,
    ) -> None:
        self._initialise(space, limits, cost_function, cost_batch_size)
        self.enumerated = space.size <= cost_batch_size
        if self.enumerated:
            self._set_all_candidates(space.enumerate())
        else:
            rng = np.random.default_rng(0)
            sample = space.sample(min(_SAMPLE_SIZE, cost_batch_size), rng)
            self.feasible_fraction = float(self.is_feasible(sample).mean())
            self._known_candidates = self._find_feasible(sample)

    @classmethod
    def from_candidates(
        cls, space: Space, limits: Limits, cost_function: CostFunction, candidates: Candidates
    ) -> FeasibleSet:
        """The feasible ones of a list of candidates, [n, d]; no others exist.

        Raises:
            NothingFeasible: None of them keeps the limits.
        """
        self = cls.__new__(cls)
        self._initialise(space, limits, cost_function, max(len(candidates), 1))
        self.enumerated = True
        self._is_explicit_list = True
        self._known_candidates = np.unique(candidates, axis=0)
        self._set_all_candidates(self._known_candidates)
        return self

    def excluding(self, is_excluded: ExclusionTest, reason: str) -> FeasibleSet:
        """These candidates but for those that a further test refuses.

        Args:
            is_excluded: The test; of what it refuses, no candidate is worth a try that is larger.
            reason: What it means, should it refuse all of them.

        Raises:
            NothingFeasible: It does; the message is the reason.
        """
        remaining_set = type(self).__new__(type(self))
        remaining_set._initialise(
            self.space, self.limits, self.cost_function, self._cost_batch_size
        )
        remaining_set.enumerated, remaining_set._is_explicit_list = (
            self.enumerated,
            self._is_explicit_list,
        )
        previous_test = self._is_excluded
        remaining_set._is_excluded = (
            is_excluded
            if previous_test is None
            else lambda candidates: previous_test(candidates) | is_excluded(candidates)
        )
        pool = self._known_candidates if self.enumerated else self._smallest_and_pool()
        remaining = pool[~is_excluded(pool)]
        if not len(remaining):
            raise NothingFeasible(reason)
        remaining_set._known_candidates = remaining if self.enumerated else remaining[:1]
        remaining_set.feasible_fraction = self.feasible_fraction * len(remaining) / len(pool)
        return remaining_set

    def _smallest_and_pool(self) -> Candidates:
        """Candidates of a set that cannot be listed, the smallest one first where it is in it."""
        smallest = self.space.smallest()[None, :]
        pool = self.candidate_pool(np.random.default_rng(0), self._known_candidates)
        return np.vstack([smallest[self.is_feasible(smallest)], pool])

    def _initialise(
        self, space: Space, limits: Limits, cost_function: CostFunction, cost_batch_size: int
    ) -> None:
        self.space, self.limits, self.cost_function = space, limits, cost_function
        self._cost_batch_size = cost_batch_size
        self._known_candidates = np.empty((0, space.dimensions), dtype=np.int64)
        self._is_explicit_list = False
        self._is_excluded: ExclusionTest | None = None
        self._cache: dict[str, object] = {}

    def _set_all_candidates(self, all_candidates: Candidates) -> None:
        """Know all candidates from now on."""
        self._known_candidates = all_candidates[self.is_feasible(all_candidates)]
        self.feasible_fraction = len(self._known_candidates) / len(all_candidates)
        if not len(self._known_candidates):
            self._raise_nothing_feasible(all_candidates)

    def encode(self, candidates: Candidates) -> NDArray[np.float64]:
        """`space.encode`, worked out once where all candidates are known."""
        return self._cached("encoded", candidates, self.space.encode)

    def row_hashes(self, candidates: Candidates) -> NDArray[np.uint64]:
        """`row_hashes`, worked out once where all candidates are known."""
        return self._cached("keys", candidates, hash_rows)

    def evaluate_costs(self, candidates: Candidates) -> Mapping[str, NDArray[np.int64]]:
        """`cost_function`, worked out once where all candidates are known."""
        return self._cached("costs", candidates, self.cost_function)

    def _cached(self, name: str, candidates: Candidates, compute: Callable[[Candidates], T]) -> T:
        if candidates is not self._known_candidates:
            return compute(candidates)
        if name not in self._cache:
            self._cache[name] = compute(candidates)
        return cast("T", self._cache[name])

    def is_feasible(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Whether each candidate keeps every limit, [n]."""
        is_inside = np.ones(len(candidates), dtype=bool)
        if self._is_explicit_list and candidates is not self._known_candidates:
            is_inside = np.isin(hash_rows(candidates), self.row_hashes(self._known_candidates))
        if is_inside.any() and self.limits.names():
            is_inside[is_inside] = self.limits.is_feasible(
                self.cost_function(candidates[is_inside])
            )
        if is_inside.any() and self._is_excluded is not None:
            is_inside[is_inside] = ~self._is_excluded(candidates[is_inside])
        return is_inside

    def candidate_pool(self, rng: np.random.Generator, tried: Candidates) -> Candidates:
        """Feasible candidates to choose from: all of them where enumerated, else a fresh draw.

        Args:
            rng: Where the draw comes from.
            tried: Tried candidates, [m, d]; a draw includes their feasible neighbours.

        Returns:
            Distinct feasible candidates, [n, d], n ≥ 1.
        """
        if self.enumerated:
            return self._known_candidates
        sampled = self.space.sample(min(_SAMPLE_SIZE, self._cost_batch_size), rng)
        feasible_sample = sampled[self.is_feasible(sampled)]
        parts = [self._known_candidates, feasible_sample, self._feasible_neighbours(tried)]
        if len(feasible_sample) < len(sampled) // 8:
            parts.append(self._shrink_towards_smallest(sampled, rng))
        walk_starts = unique_rows(np.vstack(parts))
        if len(walk_starts) < len(sampled) // 8:
            parts.append(self._random_walk(walk_starts, rng))
        return unique_rows(np.vstack(parts))

    def _feasible_neighbours(self, candidates: Candidates) -> Candidates:
        adjacent = neighbours(self.space, candidates)
        return adjacent[self.is_feasible(adjacent)]

    def _shrink_towards_smallest(self, sampled: Candidates, rng: np.random.Generator) -> Candidates:
        """Infeasible draws moved towards the smallest candidate, as far as a random step says."""
        log_smallest = np.log2(self.space.smallest())
        fraction = rng.random((len(sampled), 1))
        targets = np.exp2(log_smallest + fraction * (np.log2(sampled) - log_smallest))
        rounded = np.column_stack(
            [
                np.asarray(width.values)[
                    np.maximum(
                        np.searchsorted(width.values, targets[:, index], side="right") - 1, 0
                    )
                ]
                for index, width in enumerate(self.space.widths)
            ]
        )
        inside = rounded[self.space.contains_rows(rounded)]
        return inside[self.is_feasible(inside)]

    def _random_walk(
        self, starts: Candidates, rng: np.random.Generator, rounds: int = 8
    ) -> Candidates:
        """Feasible candidates found by stepping from feasible neighbour to neighbour."""
        reached = starts
        for _ in range(rounds):
            walk_sources = reached[rng.integers(len(reached), size=min(len(reached), 64))]
            reached = unique_rows(np.vstack([reached, self._feasible_neighbours(walk_sources)]))
        return reached

    def _find_feasible(self, sample: Candidates) -> Candidates:
        """At least one feasible candidate, by descending from the likeliest ones.

        Raises:
            NothingFeasible: The descent ends at a candidate that still breaks a limit.
        """
        descent_starts = np.vstack([self.space.smallest()[None, :], sample])
        feasible = descent_starts[self.is_feasible(descent_starts)]
        if len(feasible):
            return feasible[:1]
        current = descent_starts[self.limits.nearest_index(self.cost_function(descent_starts))]
        for _ in range(_DESCENT_STEPS):
            neighbourhood = np.vstack([current[None, :], self.space.neighbours(current)])
            best = neighbourhood[self.limits.nearest_index(self.cost_function(neighbourhood))]
            if self.is_feasible(best[None, :])[0]:
                return np.asarray(best[None, :])
            if np.array_equal(best, current):
                break
            current = best
        self._raise_nothing_feasible(current[None, :])
        raise AssertionError("unreachable")

    def _raise_nothing_feasible(self, candidates: Candidates) -> None:
        costs = self.cost_function(candidates)
        nearest = self.limits.nearest_index(costs)
        raise NothingFeasible(
            describe_nothing_feasible(
                self.limits,
                self.space.as_mapping(candidates[nearest]),
                {name: int(values[nearest]) for name, values in costs.items()},
            )
        )


def stack_rows(width_rows: Sequence[NDArray[np.int64]], space: Space) -> Candidates:
    """Candidates stacked to [n, d], also when there are none."""
    return np.asarray(width_rows, dtype=np.int64).reshape(len(width_rows), space.dimensions)
