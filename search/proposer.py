"""The proposer: from what a study has tried to the candidate that is worth training next.

The first proposals are the plain baselines and a few candidates spread over the feasible set;
after that, the untried feasible candidate with the best acquisition under the surrogate.
Entry point: `Proposer.propose`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .acquisition import front_value, log_expected_improvement, smallest_value
from .baselines import Baseline
from .candidates import Candidates, FeasibleSet
from .errors import Exhausted
from .goals import Goal, good_enough, pareto_front
from .space import Space
from .surrogate import Posterior, fit

Floats = NDArray[np.float64]

SAMPLED = "sampler"
SPREAD = "start-up design"


@dataclass(frozen=True, kw_only=True)
class History:
    """What a study has tried so far.

    Attributes:
        observed: Candidates with a metric, [n, d].
        values: Their metrics, [n], higher is better.
        pending: Candidates in training now, [m, d]: their metric is still to come.
        failed: Candidates tried without a metric, [k, d].
    """

    observed: Candidates
    values: Floats
    pending: Candidates
    failed: Candidates

    @property
    def tried(self) -> Candidates:
        """Every candidate that must not be proposed again."""
        return np.vstack([self.observed, self.pending, self.failed])


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A feasible, untried candidate and where it comes from."""

    widths: Mapping[str, int]
    origin: str


@dataclass(frozen=True, kw_only=True)
class Proposer:
    """Proposes candidates of a feasible set for a goal."""

    feasible: FeasibleSet
    goal: Goal = field(default_factory=Goal)
    baselines: Sequence[Baseline] = ()

    @property
    def design(self) -> int:
        """Candidates of the start-up design, baselines included: two more than a linear fit needs.

        The surrogate's prior lets it start with far fewer observations than it has terms.
        """
        return self.feasible.space.dimensions + 3

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """The next candidate to train.

        Args:
            history: All that was tried.
            rng: Source of all randomness; the same history and state give the same proposal.

        Raises:
            Exhausted: Every feasible candidate was tried.
        """
        space, tried = self.feasible.space, _keys(history.tried)
        for baseline in self.baselines:
            row = space.as_row(baseline.widths)
            if _keys(row[None, :])[0] not in tried:
                return Proposal(widths=space.as_mapping(row), origin=baseline.name)
        pool = self.feasible.pool(rng, self._best_tried(history))
        open_ = pool[~np.isin(_keys(pool), tried)]
        if not len(open_):
            raise Exhausted(
                f"every feasible candidate was tried: {len(pool):,} of {space.size:,} keep the "
                "limits"
            )
        if len(history.tried) < self.design or not len(history.observed):
            return self._proposal(_farthest(space, open_, history.tried, rng), SPREAD)
        return self._proposal(open_[int(np.argmax(self._scores(open_, history)))], SAMPLED)

    def _proposal(self, row: NDArray[np.int64], origin: str) -> Proposal:
        return Proposal(widths=self.feasible.space.as_mapping(row), origin=origin)

    def _best_tried(self, history: History, count: int = 4) -> Candidates:
        return history.observed[np.argsort(-history.values)[:count]]

    def posterior(self, history: History) -> Posterior:
        """The surrogate given all observations."""
        return fit(self.feasible.space.encode(history.observed), history.values)

    def _scores(self, candidates: Candidates, history: History) -> Floats:
        """The acquisition of each candidate, pending ones taken to come out as expected."""
        space = self.feasible.space
        believed = self.posterior(history)
        if len(history.pending):
            guessed, _ = believed.predict(space.encode(history.pending))
            seen = np.vstack([history.observed, history.pending])
            believed = fit(space.encode(seen), np.concatenate([history.values, guessed]))
        else:
            seen = history.observed
        mean, deviation = believed.predict(space.encode(candidates))
        seen_mean, _ = believed.predict(space.encode(seen))
        if self.goal.kind == "best":
            return log_expected_improvement(mean, deviation, float(seen_mean.max()))
        cost = np.asarray(self.feasible.cost(candidates)[self.goal.cost], dtype=np.float64)
        seen_cost = np.asarray(self.feasible.cost(seen)[self.goal.cost], dtype=np.float64)
        if self.goal.kind == "smallest":
            good = good_enough(seen_mean, self.goal)
            incumbent = float(seen_cost[good].min()) if good.any() else np.inf
            scores = smallest_value(mean, deviation, cost, self.goal.signed_target, incumbent)
            if np.isfinite(scores.max()):
                return scores
            return log_expected_improvement(mean, deviation, float(seen_mean.max()))
        members = pareto_front(seen_cost, seen_mean)
        reference = (
            float(max(cost.max(), seen_cost.max())) * 1.1,
            float(min(mean.min(), seen_mean.min())),
        )
        front = np.column_stack([seen_cost[members], seen_mean[members]])
        return front_value(mean, deviation, cost, front, reference)


def _keys(candidates: Candidates) -> NDArray[np.uint64]:
    """Each row as one number, so that a million rows are compared as sets at once.

    A multilinear hash modulo 2^64 with odd random factors. Two candidates share a key once in some
    2^63 pairs; then an untried one counts as tried, which does no harm.
    """
    factors = np.random.default_rng(0).integers(2**63, size=candidates.shape[1], dtype=np.uint64)
    return (candidates.astype(np.uint64) * (2 * factors + 1)).sum(axis=1, dtype=np.uint64)


def _farthest(
    space: Space, candidates: Candidates, tried: Candidates, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Of 256 random candidates the one that lies farthest from all tried (maximin)."""
    chosen = candidates[rng.permutation(len(candidates))[:256]]
    if not len(tried):
        return chosen[0]
    gaps = space.encode(chosen)[:, None, :] - space.encode(tried)[None, :, :]
    return chosen[int(np.argmax((gaps**2).sum(axis=2).min(axis=1)))]


def rows(found: Sequence[NDArray[np.int64]], space: Space) -> Candidates:
    """Candidates stacked to [n, d], also when there are none."""
    return np.asarray(found, dtype=np.int64).reshape(len(found), space.dimensions)
