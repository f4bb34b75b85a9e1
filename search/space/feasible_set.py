"""The feasible set: the candidates of a space whose known costs keep every limit.

A lattice that is small enough is enumerated once and its costs are evaluated at once; of a larger
one, `candidate_pool` draws feasible candidates anew. `FeasibleSet` never yields an infeasible
candidate. `FeasibleSet.from_candidates` makes one of a plain list of candidates, such as the rows
of a table; `FeasibleSet.excluding` one without those that a further test refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..errors import NothingFeasible
from .limits import Limits, describe_nothing_feasible
from .neighbourhood import Candidates, hash_rows, neighbours, unique_rows
from .space import Space
from .width import log_sizes

BatchCostFunction = Callable[[Candidates], Mapping[str, NDArray[np.int64]]]
"""Candidates [n, d] → their costs by name, each [n]."""
ExclusionTest = Callable[[Candidates], NDArray[np.bool_]]
"""Candidates [n, d] → which of them to leave out, [n]."""

COST_BATCH_SIZE = 2**20
"""Candidates whose costs are evaluated at once: 2^20 rows of polynomials take about a second."""

# A draw of a lattice that is too large to enumerate.
_SAMPLE_SIZE = 4096
# Steps of the search for a first feasible candidate: each moves one width by one lattice step.
_DESCENT_STEPS = 2000


def no_costs(candidates: Candidates) -> dict[str, NDArray[np.int64]]:
    """Return no costs: the cost function of a search without limits."""
    del candidates
    return {}


@dataclass(frozen=True, eq=False)
class _KnownCandidates:
    """Feasible candidates that are known, with what is worth computing of them once."""

    rows: Candidates
    space: Space
    cost_function: BatchCostFunction

    @cached_property
    def encoded(self) -> NDArray[np.float64]:
        """Their encoded widths, [n, d]."""
        return self.space.encode(self.rows)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """Their hashes, [n]."""
        return hash_rows(self.rows)

    @cached_property
    def costs(self) -> Mapping[str, NDArray[np.int64]]:
        """Their costs by name, each [n]."""
        return self.cost_function(self.rows)


@final
class FeasibleSet:
    """The feasible candidates of `space` under `limits`.

    Args:
        space: The lattice.
        limits: Upper bounds of the costs.
        cost_function: Costs of candidates, in the space's order of widths.
        cost_batch_size: How many candidates `cost_function` may be asked for in one go; small where
            each has to be traced, large where polynomials are evaluated. A function where that, as
            the costs, may be revised.
        revision: Grows when `cost_function` has other answers than before: what is known of the
            candidates is then found out again.
        admits: Whether a candidate [d] keeps the limits by its own costs, which may revise
            `cost_function`; None where that is itself exact.
        candidates: The only candidates there are, [n, d]; None for all of the space.

    Attributes:
        enumerated: Whether all candidates are known.
        feasible_fraction: Share of the space that is feasible: exact where enumerated, else of a
            sample.

    Raises:
        NothingFeasible: No candidate keeps the limits.
    """

    def __init__(
        self,
        space: Space,
        limits: Limits,
        cost_function: BatchCostFunction,
        *,
        cost_batch_size: int | Callable[[], int] = COST_BATCH_SIZE,
        revision: Callable[[], int] = lambda: 0,
        admits: Callable[[NDArray[np.int64]], bool] | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        self.space, self.limits, self.cost_function = space, limits, cost_function
        self._max_batch, self._revision, self._admits = cost_batch_size, revision, admits
        self._is_excluded: ExclusionTest | None = None
        self._listed = None if candidates is None else np.unique(candidates, axis=0)
        self._listed_hashes = None if self._listed is None else hash_rows(self._listed)
        self.enumerated: bool
        self.feasible_fraction: float
        self._know()

    @property
    def cost_batch_size(self) -> int:
        """How many candidates `cost_function` may be asked for in one go."""
        return self._max_batch if isinstance(self._max_batch, int) else self._max_batch()

    def _know(self) -> None:
        """Find out which candidates are feasible, or where to start from.

        Raises:
            NothingFeasible: No candidate keeps the limits.
        """
        self._known_revision = self._revision()
        self.enumerated = self._listed is not None or self.space.size <= self.cost_batch_size
        if self._listed is not None:
            self._know_feasible(self._listed)
        elif self.enumerated:
            self._know_feasible(self.space.enumerate())
        else:
            rng = np.random.default_rng(0)
            sample = self.space.sample(min(_SAMPLE_SIZE, self.cost_batch_size), rng)
            self.feasible_fraction = float(self.is_feasible(sample).mean())
            self._known = self._make_known(self._find_feasible(sample))

    def confirms(self, candidate: NDArray[np.int64]) -> bool:
        """Return whether a feasible candidate [d] keeps the limits by its own costs too."""
        return self._admits is None or self._admits(candidate)

    @classmethod
    def from_candidates(
        cls, space: Space, limits: Limits, cost_function: BatchCostFunction, candidates: Candidates
    ) -> FeasibleSet:
        """Return the feasible ones of a list of candidates, [n, d]; no others exist.

        Raises:
            NothingFeasible: None of them keeps the limits.
        """
        return cls(
            space,
            limits,
            cost_function,
            cost_batch_size=max(len(candidates), 1),
            candidates=candidates,
        )

    def excluding(self, is_excluded: ExclusionTest, reason: str) -> FeasibleSet:
        """Return the set of these candidates but for those that a further test refuses.

        Args:
            is_excluded: The test; what is larger than a candidate it refuses, it refuses too.
            reason: What it means if it refuses all of them.

        Raises:
            NothingFeasible: It does; the message is the reason.
        """
        pool = self._known.rows if self.enumerated else self._smallest_and_pool()
        remaining = pool[~is_excluded(pool)]
        if not len(remaining):
            raise NothingFeasible(reason)
        previous_test = self._is_excluded
        remaining_set = copy(self)
        remaining_set._is_excluded = (
            is_excluded
            if previous_test is None
            else lambda candidates: previous_test(candidates) | is_excluded(candidates)
        )
        remaining_set._known = self._make_known(remaining if self.enumerated else remaining[:1])
        remaining_set.feasible_fraction = self.feasible_fraction * len(remaining) / len(pool)
        return remaining_set

    def _smallest_and_pool(self) -> Candidates:
        """Return a draw of a set that cannot be listed, its smallest candidate first."""
        smallest = self.space.smallest()[None, :]
        pool = self.candidate_pool(np.random.default_rng(0), self._known.rows)
        return np.vstack([smallest[self.is_feasible(smallest)], pool])

    def _make_known(self, rows: Candidates) -> _KnownCandidates:
        return _KnownCandidates(rows, self.space, self.cost_function)

    def _know_feasible(self, candidates: Candidates) -> None:
        """Know the feasible ones of all candidates from now on."""
        feasible = candidates[self.is_feasible(candidates)]
        if not len(feasible):
            self._raise_nothing_feasible(candidates)
        self.feasible_fraction = len(feasible) / len(candidates)
        self._known = self._make_known(feasible)

    def encode(self, candidates: Candidates) -> NDArray[np.float64]:
        """Return `space.encode`, computed once for all known candidates."""
        known = self._known
        return known.encoded if candidates is known.rows else self.space.encode(candidates)

    def row_hashes(self, candidates: Candidates) -> NDArray[np.uint64]:
        """Return `hash_rows`, computed once for all known candidates."""
        known = self._known
        return known.hashes if candidates is known.rows else hash_rows(candidates)

    def evaluate_costs(self, candidates: Candidates) -> Mapping[str, NDArray[np.int64]]:
        """Return `cost_function`, computed once for all known candidates."""
        known = self._known
        return known.costs if candidates is known.rows else self.cost_function(candidates)

    def is_feasible(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Return which candidates keep every limit, [n]."""
        is_inside = np.ones(len(candidates), dtype=bool)
        if self._listed_hashes is not None:
            is_inside = np.isin(hash_rows(candidates), self._listed_hashes)
        if is_inside.any() and self.limits.names():
            is_inside[is_inside] = self.limits.is_feasible(
                self.cost_function(candidates[is_inside])
            )
        if is_inside.any() and self._is_excluded is not None:
            is_inside[is_inside] = ~self._is_excluded(candidates[is_inside])
        return is_inside

    @property
    def known_count(self) -> int:
        """Number of the candidates that are known: all feasible ones where enumerated."""
        return len(self._known.rows)

    def candidate_pool(self, rng: np.random.Generator, tried: Candidates) -> Candidates:
        """Return feasible candidates to choose from: all where enumerated, else a fresh draw.

        Args:
            rng: Where the draw comes from.
            tried: Tried candidates, [m, d]; a draw includes their feasible neighbours.

        Returns:
            Distinct feasible candidates, [n, d], n ≥ 1.
        """
        if self._known_revision != self._revision():
            self._know()
        if self.enumerated:
            return self._known.rows
        sampled = self.space.sample(min(_SAMPLE_SIZE, self.cost_batch_size), rng)
        feasible_sample = sampled[self.is_feasible(sampled)]
        parts = [self._known.rows, feasible_sample, self._feasible_neighbours(tried)]
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
        """Return draws moved a random part of the way to the smallest, where that is feasible."""
        log_smallest = log_sizes(self.space.smallest())
        fraction = rng.random((len(sampled), 1))
        targets = np.exp2(log_smallest + fraction * (log_sizes(sampled) - log_smallest))
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
        """Return feasible candidates reached by steps from neighbour to neighbour."""
        reached = starts
        for _ in range(rounds):
            walk_sources = reached[rng.integers(len(reached), size=min(len(reached), 64))]
            reached = unique_rows(np.vstack([reached, self._feasible_neighbours(walk_sources)]))
        return reached

    def _find_feasible(self, sample: Candidates) -> Candidates:
        """Return at least one feasible candidate, found by descending from the likeliest ones.

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
    """Return candidates stacked to [n, d], also when there are none."""
    return np.asarray(width_rows, dtype=np.int64).reshape(len(width_rows), space.dimensions)
