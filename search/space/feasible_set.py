"""The feasible set: the candidates of a space whose known costs keep every limit.

A lattice that is small enough is enumerated once and its costs are evaluated at once; of a larger
one, `pool` draws feasible candidates anew. `FeasibleSet` never yields an infeasible candidate.
`FeasibleSet.listed` makes one of a plain list of candidates, such as the rows of a table;
`FeasibleSet.without` one of another's candidates, but for those that a further test refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast, final

import numpy as np
from numpy.typing import NDArray

from ..errors import NothingFeasible
from .limits import Limits, describe_nothing_feasible
from .neighbourhood import Candidates, distinct, keys, steps
from .space import Space

__all__ = [
    "EVALUATED_AT_ONCE",
    "Candidates",
    "CostFunction",
    "FeasibleSet",
    "keys",
    "no_costs",
    "rows",
]

T = TypeVar("T")
CostFunction = Callable[[Candidates], Mapping[str, NDArray[np.int64]]]
Test = Callable[[Candidates], NDArray[np.bool_]]
"""Candidates [n, d] -> which of them to leave out, [n]."""

# Candidates whose costs are evaluated at once: 2^20 rows of polynomials take about a second.
EVALUATED_AT_ONCE = 2**20
# A draw of a lattice that is too large to enumerate.
_DRAWN = 4096
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
        cost: Costs by name, each [n], of candidates [n, d] in the space's order.
        at_once: How many candidates `cost` may be asked for in one go; small where each has to be
            traced, large where polynomials are evaluated.
    """

    enumerated: bool
    """Whether all candidates are known."""
    share: float
    """Share of the space that is feasible: exact where enumerated, else of a sample."""
    _known: Candidates

    def __init__(
        self,
        space: Space,
        limits: Limits,
        cost: CostFunction,
        *,
        at_once: int = EVALUATED_AT_ONCE,
    ) -> None:
        self._begin(space, limits, cost, at_once)
        self.enumerated = space.size <= at_once
        if self.enumerated:
            self._take(space.enumerate())
        else:
            rng = np.random.default_rng(0)
            sample = space.sample(min(_DRAWN, at_once), rng)
            self.share = float(self.admitted(sample).mean())
            self._known = self._first(sample)

    @classmethod
    def listed(
        cls, space: Space, limits: Limits, cost: CostFunction, candidates: Candidates
    ) -> FeasibleSet:
        """The feasible ones of a list of candidates, [n, d]; no others exist.

        Raises:
            NothingFeasible: None of them keeps the limits.
        """
        self = cls.__new__(cls)
        self._begin(space, limits, cost, max(len(candidates), 1))
        self.enumerated = True
        self._listed = True
        self._known = np.unique(candidates, axis=0)
        self._take(self._known)
        return self

    def without(self, refused: Test, reason: str) -> FeasibleSet:
        """These candidates but for those that a further test refuses.

        Args:
            refused: The test; of what it refuses, no candidate is worth a try that is larger.
            reason: What it means, should it refuse all of them.

        Raises:
            NothingFeasible: It does; the message is the reason.
        """
        other = type(self).__new__(type(self))
        other._begin(self.space, self.limits, self.cost, self._at_once)
        other.enumerated, other._listed = self.enumerated, self._listed
        earlier = self._refused
        other._refused = (
            refused if earlier is None else lambda found: earlier(found) | refused(found)
        )
        pool = self._known if self.enumerated else self._likeliest()
        left = pool[~refused(pool)]
        if not len(left):
            raise NothingFeasible(reason)
        other._known = left if self.enumerated else left[:1]
        other.share = self.share * len(left) / len(pool)
        return other

    def _likeliest(self) -> Candidates:
        """Candidates of a set that cannot be listed, the smallest one first where it is in it."""
        smallest = self.space.smallest()[None, :]
        drawn = self.pool(np.random.default_rng(0), self._known)
        return np.vstack([smallest[self.admitted(smallest)], drawn])

    def _begin(self, space: Space, limits: Limits, cost: CostFunction, at_once: int) -> None:
        self.space, self.limits, self.cost = space, limits, cost
        self._at_once = at_once
        self._known = np.empty((0, space.dimensions), dtype=np.int64)
        self._listed = False
        self._refused: Test | None = None
        self._remembered: dict[str, object] = {}

    def _take(self, everything: Candidates) -> None:
        """Know all candidates from now on."""
        self._known = everything[self.admitted(everything)]
        self.share = len(self._known) / len(everything)
        if not len(self._known):
            self._refuse(everything)

    def encoded(self, candidates: Candidates) -> NDArray[np.float64]:
        """`space.encode`, worked out once where all candidates are known."""
        return self._once("encoded", candidates, self.space.encode)

    def keys(self, candidates: Candidates) -> NDArray[np.uint64]:
        """`keys`, worked out once where all candidates are known."""
        return self._once("keys", candidates, keys)

    def costs(self, candidates: Candidates) -> Mapping[str, NDArray[np.int64]]:
        """`cost`, worked out once where all candidates are known."""
        return self._once("costs", candidates, self.cost)

    def _once(self, name: str, candidates: Candidates, work: Callable[[Candidates], T]) -> T:
        if candidates is not self._known:
            return work(candidates)
        if name not in self._remembered:
            self._remembered[name] = work(candidates)
        return cast("T", self._remembered[name])

    def admitted(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Whether each candidate keeps every limit, [n]."""
        inside = np.ones(len(candidates), dtype=bool)
        if self._listed and candidates is not self._known:
            inside = np.isin(keys(candidates), self.keys(self._known))
        if inside.any() and self.limits.names():
            inside[inside] = self.limits.feasible(self.cost(candidates[inside]))
        if inside.any() and self._refused is not None:
            inside[inside] = ~self._refused(candidates[inside])
        return inside

    def pool(self, rng: np.random.Generator, around: Candidates) -> Candidates:
        """Feasible candidates to choose from: all of them where enumerated, else a fresh draw.

        Args:
            rng: Where the draw comes from.
            around: Tried candidates, [m, d]; a draw includes their feasible neighbours.

        Returns:
            Distinct feasible candidates, [n, d], n ≥ 1.
        """
        if self.enumerated:
            return self._known
        drawn = self.space.sample(min(_DRAWN, self._at_once), rng)
        feasible = drawn[self.admitted(drawn)]
        parts = [self._known, feasible, self._admitted_neighbours(around)]
        if len(feasible) < len(drawn) // 8:
            parts.append(self._shrunk(drawn, rng))
        walkers = distinct(np.vstack(parts))
        if len(walkers) < len(drawn) // 8:
            parts.append(self._walk(walkers, rng))
        return distinct(np.vstack(parts))

    def _admitted_neighbours(self, candidates: Candidates) -> Candidates:
        found = steps(self.space, candidates)
        return found[self.admitted(found)]

    def _shrunk(self, drawn: Candidates, rng: np.random.Generator) -> Candidates:
        """Infeasible draws moved towards the smallest candidate, as far as a random step says."""
        floor = np.log2(self.space.smallest())
        share = rng.random((len(drawn), 1))
        wanted = np.exp2(floor + share * (np.log2(drawn) - floor))
        rounded = np.column_stack(
            [
                np.asarray(width.values)[
                    np.maximum(np.searchsorted(width.values, wanted[:, index], side="right") - 1, 0)
                ]
                for index, width in enumerate(self.space.widths)
            ]
        )
        inside = rounded[self.space.contains_rows(rounded)]
        return inside[self.admitted(inside)]

    def _walk(self, start: Candidates, rng: np.random.Generator, rounds: int = 8) -> Candidates:
        """Feasible candidates found by stepping from feasible neighbour to neighbour."""
        found = start
        for _ in range(rounds):
            chosen = found[rng.integers(len(found), size=min(len(found), 64))]
            found = distinct(np.vstack([found, self._admitted_neighbours(chosen)]))
        return found

    def _first(self, sample: Candidates) -> Candidates:
        """At least one feasible candidate, by descending from the likeliest ones.

        Raises:
            NothingFeasible: The descent ends at a candidate that still breaks a limit.
        """
        start = np.vstack([self.space.smallest()[None, :], sample])
        feasible = start[self.admitted(start)]
        if len(feasible):
            return feasible[:1]
        current = start[self.limits.nearest(self.cost(start))]
        for _ in range(_DESCENT_STEPS):
            around = np.vstack([current[None, :], self.space.neighbours(current)])
            best = around[self.limits.nearest(self.cost(around))]
            if self.admitted(best[None, :])[0]:
                return np.asarray(best[None, :])
            if np.array_equal(best, current):
                break
            current = best
        self._refuse(current[None, :])
        raise AssertionError("unreachable")

    def _refuse(self, candidates: Candidates) -> None:
        costs = self.cost(candidates)
        nearest = self.limits.nearest(costs)
        raise NothingFeasible(
            describe_nothing_feasible(
                self.limits,
                self.space.as_mapping(candidates[nearest]),
                {name: int(values[nearest]) for name, values in costs.items()},
            )
        )


def rows(found: Sequence[NDArray[np.int64]], space: Space) -> Candidates:
    """Candidates stacked to [n, d], also when there are none."""
    return np.asarray(found, dtype=np.int64).reshape(len(found), space.dimensions)
