"""The best candidate: the one that is believed to be best now, among tried and untried ones.

The luckiest training is not the best network. The best candidate has the best posterior mean of
all feasible candidates, whether trained or not, and comes with an interval. What failed, or broke
a measured limit, is never it; what is likely to, is not either. The report, the confirmation that
ends a budget and `WidthSampler.recommend` all ask `best_candidate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..goal import Goal, GoalKind, cheapest_index, confidently_meets_target, meets_target
from ..space.feasible_set import FeasibleSet
from ..space.local_search import beam_search
from ..space.neighbourhood import Candidates, hash_rows
from ..surrogate.observations import Floats
from .acquisition import MAX_SCORED, top_by_ei
from .companions import CompanionParameters
from .history import History
from .posterior import ConstrainedPosterior, encode_candidates

INTERVAL_DEVIATIONS = 1.96
"""Standard deviations on either side of the mean: 95 % of a normal distribution."""

MIN_TRAININGS = 4
"""Trainings below which the surrogate has no ground to recommend, or confirm, anything."""

MAX_REFUSALS = 32
"""Candidates that may turn out to break a limit by their own costs before none is recommended."""

_SHORTLIST_SIZE = 4096
_BEAM_STARTS = 8


@dataclass(frozen=True, kw_only=True)
class BestCandidate:
    """A recommended candidate.

    Attributes:
        widths: Its widths by name.
        mean: Posterior mean of its metric, without the luck of one training, in the metric's sign.
        deviation: Posterior standard deviation.
        low: Lower end of the 95 % interval of the metric.
        high: Upper end.
        trained: Whether it was trained; if not, one training would confirm it.
        companions: Values of the parameters that are searched along.
    """

    widths: Mapping[str, int]
    mean: float
    deviation: float
    low: float
    high: float
    trained: bool
    companions: Mapping[str, Any] = field(default_factory=dict)


def best_candidate(
    feasible_set: FeasibleSet,
    goal: Goal,
    history: History,
    posterior: ConstrainedPosterior,
    companion_parameters: CompanionParameters | None = None,
) -> BestCandidate | None:
    """Return the candidate to take for a goal, None where all known ones failed.

    Args:
        feasible_set: The candidates.
        goal: "best" and "front" take the best mean; "smallest" the cheapest that meets the target
            with confidence; where none does, the likeliest to meet it, and where none is likelier
            to than not, the one that comes nearest.
        history: What was tried; of companions only those of a trial in it are taken.
        posterior: As fitted to the history.
        companion_parameters: Decodes the companions.
    """
    answers = _AnswerScores(feasible_set, history, posterior)
    trained = hash_rows(history.observed)
    refused = hash_rows(history.observed[:0])
    for _ in range(MAX_REFUSALS):
        best_row = _best_row(feasible_set, goal, history, posterior, answers, refused)
        if best_row is None:
            return None
        # What was trained was counted by its own trace; what was not is shown only if it was, too.
        best_hash = hash_rows(best_row[None, :])
        if np.isin(best_hash, trained)[0] or feasible_set.confirms(best_row):
            return _describe(best_row, answers, goal, companion_parameters)
        refused = np.concatenate([refused, best_hash])
    return None


def _best_row(
    feasible_set: FeasibleSet,
    goal: Goal,
    history: History,
    posterior: ConstrainedPosterior,
    answers: _AnswerScores,
    refused: NDArray[np.uint64],
) -> NDArray[np.int64] | None:
    """Return the best candidate [d] as far as costs are forecast; None where all failed."""
    rng = np.random.default_rng(0)
    pool = feasible_set.candidate_pool(rng, history.top_observed)
    score_all = feasible_set.enumerated and len(pool) <= MAX_SCORED
    if len(pool) > MAX_SCORED:
        pool = answers.shortlist(pool)
    if not score_all:
        pool = np.vstack([pool, history.observed[feasible_set.is_feasible(history.observed)]])
    is_excluded = history.is_excluded(pool, answers.companion_row)
    if len(refused):
        is_excluded |= np.isin(hash_rows(pool), refused)
    if is_excluded.all():
        return None
    pool = pool[~is_excluded] if is_excluded.any() else pool
    is_usable = answers.is_usable(pool)
    if not is_usable.any():
        best_row = pool[int(np.argmax(posterior.log_probability_feasible(answers.encode(pool))))]
    else:
        pool = pool[is_usable] if not is_usable.all() else pool
        mean, deviation = posterior.metric.predict(answers.encode(pool))
        if goal.kind is GoalKind.SMALLEST:
            cost = np.asarray(feasible_set.cost_function(pool)[goal.cost], dtype=np.float64)
            best_row = pool[_cheapest_confident(mean, deviation, cost, goal)]
        elif score_all:
            best_row = pool[int(np.argmax(mean))]
        else:
            starts = pool[np.argsort(-mean, kind="stable")[:_BEAM_STARTS]]
            best_row = beam_search(feasible_set, answers, starts, rng, refused)
    return np.asarray(best_row)


class _AnswerScores:
    """Scores candidates as answers: by posterior mean, −∞ for what cannot be one.

    Attributes:
        companion_row: The companions that every candidate is scored with, [e]; None without any.
    """

    def __init__(
        self, feasible_set: FeasibleSet, history: History, posterior: ConstrainedPosterior
    ) -> None:
        self.feasible_set, self.history, self.posterior = feasible_set, history, posterior
        self.companion_row = _best_companions(posterior, history)

    def __call__(self, candidates: Candidates) -> Floats:
        """Return the scores, [n]."""
        mean, _ = self.posterior.metric.predict(self.encode(candidates))
        is_possible = self.is_usable(candidates) & ~self.history.is_excluded(
            candidates, self.companion_row
        )
        return np.where(is_possible, mean, -np.inf)

    def encode(self, candidates: Candidates) -> Floats:
        """Return the surrogate's columns, [n, columns]."""
        companion_rows = (
            None
            if self.companion_row is None
            else np.tile(self.companion_row, (len(candidates), 1))
        )
        return encode_candidates(self.feasible_set, candidates, companion_rows)

    def is_usable(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Return which candidates kept every measured limit, or are likely to, [n]."""
        return self.history.has_proven(
            candidates, self.companion_row
        ) | self.posterior.is_probably_feasible(self.encode(candidates))

    def shortlist(self, pool: Candidates) -> Candidates:
        """Return the candidates of a large pool with the best polynomial means and improvements."""
        encoded = self.encode(pool)
        polynomial_mean, _ = self.posterior.metric.polynomial_only().predict(encoded)
        top_by_mean = np.argpartition(-polynomial_mean, _SHORTLIST_SIZE)[:_SHORTLIST_SIZE]
        return pool[np.union1d(top_by_mean, top_by_ei(self.posterior, encoded, _SHORTLIST_SIZE))]


def _cheapest_confident(mean: Floats, deviation: Floats, cost: Floats, goal: Goal) -> int:
    """Return the index of the cheapest that meets the target, else of the likeliest or nearest."""
    cheapest = cheapest_index(confidently_meets_target(mean, deviation, goal), mean, cost)
    if cheapest is not None:
        return cheapest
    if not meets_target(mean, goal).any():
        # Beyond all means the least known candidate is the likeliest to reach a target: a corner of
        # the space, the smallest network above all, whose training would confirm nothing.
        return int(np.argmax(mean))
    return int(np.argmax((mean - goal.signed_target) / deviation))


def _best_companions(posterior: ConstrainedPosterior, history: History) -> Floats | None:
    """Return the companions, [columns], of the best observed trial that broke no limit."""
    if history.encoded_companions is None:
        return None
    mean, _ = posterior.metric.predict(posterior.train_inputs[: len(history.values)])
    if not history.breaks_limit.all():
        mean = np.where(history.breaks_limit, -np.inf, mean)
    return np.asarray(history.encoded_companions[int(np.argmax(mean))])


def _describe(
    row: NDArray[np.int64],
    answers: _AnswerScores,
    goal: Goal,
    companion_parameters: CompanionParameters | None,
) -> BestCandidate:
    """Return the candidate with its interval, and whether it was trained."""
    history, companion_row = answers.history, answers.companion_row
    row_mean, row_deviation = answers.posterior.metric.predict(answers.encode(row[None, :]))
    mean, deviation = goal.sign * float(row_mean[0]), float(row_deviation[0])
    trained_hashes = hash_rows(history.observed[history.is_full_fidelity])
    return BestCandidate(
        widths=answers.feasible_set.space.as_mapping(row),
        mean=mean,
        deviation=deviation,
        low=mean - INTERVAL_DEVIATIONS * deviation,
        high=mean + INTERVAL_DEVIATIONS * deviation,
        trained=bool(np.isin(hash_rows(row[None, :]), trained_hashes)[0]),
        companions={}
        if companion_parameters is None or companion_row is None
        else companion_parameters.decode(companion_row),
    )
