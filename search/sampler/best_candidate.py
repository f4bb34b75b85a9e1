"""The best candidate: the one that is believed to be best now, among tried and untried ones.

The luckiest training is not the best network; nor is the best of thousands of posterior means the
best candidate, since of many estimates the greatest is likely one that errs upward (Smith and
Winkler, The Optimizer's Curse, 2006), most of all among candidates far from any training. So the
best candidate has the best lower end: its posterior mean less one standard deviation
(`CAUTION_DEVIATIONS`), whether trained or not, and comes with an interval. What failed, or broke a
measured limit, is never it; what is likely to, is not either. The report, the confirmation that
ends a budget and `WidthSampler.recommend` all ask `best_candidate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..goal import Goal, GoalKind, cheapest_index, is_good_enough, meets_target
from ..space.feasible_set import FeasibleSet
from ..space.local_search import beam_search
from ..space.neighbourhood import Candidates, hash_rows, unique_rows
from ..surrogate.difference import value_posteriors
from ..surrogate.observations import Floats
from .acquisition import MAX_SCORED, top_by_ei
from .companions import CompanionParameters
from .history import History
from .posterior import ConstrainedPosterior, encode_candidates

INTERVAL_DEVIATIONS = 1.96
"""Standard deviations on either side of the mean: 95 % of a normal distribution."""

CAUTION_DEVIATIONS = 1.0
"""Standard deviations below its mean that a candidate is judged at; 0 would be the mean itself.

With 1 the true quality is as good from ten trainings on, and far better after four: docs/answer.md.
"""

MIN_TRAININGS = 4
"""Trainings below which the surrogate has no ground to recommend, or confirm, anything."""

MAX_INTEGRATED = 64
"""Trainings up to which an estimate integrates over all noise that explains them: of few, the
likeliest noise is often too small, and so is the interval. More of them tell the noise."""

MAX_REFUSALS = 32
"""Candidates that may turn out to break a limit by their own costs before none is recommended."""

_SHORTLIST_SIZE = 4096
_BEAM_STARTS = 8
# Of a pool too large to be scored whole, so many are scored in each of so many ranges of cost.
_COST_BINS = 64
_BEST_OF_A_BIN = 64


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


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerPool:
    """The candidates that may be the answer, as the posterior sees them.

    Attributes:
        rows: Candidates, [n, d]; none of them failed or broke a measured limit.
        mean: Posterior means, [n], higher is better.
        deviation: Posterior standard deviations, [n].
        log_feasible: Logarithms of the probability that they keep the measured limits, [n], where
            none of them is likely to; else None, and all of them are.
        complete: Whether these are all there are.
    """

    rows: Candidates
    mean: Floats
    deviation: Floats
    log_feasible: Floats | None
    complete: bool

    @property
    def lower_end(self) -> Floats:
        """What each is judged at, [n]: its mean less `CAUTION_DEVIATIONS` standard deviations."""
        return np.asarray(self.mean - CAUTION_DEVIATIONS * self.deviation)

    def without(self, refused: NDArray[np.uint64]) -> AnswerPool:
        """Return the pool without the candidates of these hashes."""
        if not len(refused):
            return self
        kept = ~np.isin(hash_rows(self.rows), refused)
        return replace(
            self,
            rows=self.rows[kept],
            mean=self.mean[kept],
            deviation=self.deviation[kept],
            log_feasible=None if self.log_feasible is None else self.log_feasible[kept],
        )


def answer_pool(
    feasible_set: FeasibleSet, goal: Goal, history: History, posterior: ConstrainedPosterior
) -> AnswerPool:
    """Return the candidates that may be the answer: all where they can be listed, else the best.

    Args:
        feasible_set: The candidates.
        goal: Where it uses a cost, good candidates of every cost are in the pool.
        history: What was tried.
        posterior: As fitted to the history.
    """
    return _answer_pool(feasible_set, goal, _AnswerScores(feasible_set, history, posterior))


def best_candidate(
    feasible_set: FeasibleSet,
    goal: Goal,
    history: History,
    posterior: ConstrainedPosterior,
    companion_parameters: CompanionParameters | None = None,
    pool: AnswerPool | None = None,
) -> BestCandidate | None:
    """Return the candidate to take for a goal, None where all known ones failed.

    Args:
        feasible_set: The candidates.
        goal: "best" and "front" take the best lower end; "smallest" the cheapest that meets the
            target with confidence; where none does, the likeliest to meet it, and where none is
            likelier to than not, the one that comes nearest. Without a target it takes the
            cheapest within one standard error of the best.
        history: What was tried; of companions only those of a trial in it are taken.
        posterior: As fitted to the history.
        companion_parameters: Decodes the companions.
        pool: As `answer_pool` returned it for the same; None to have it made here.
    """
    answers = _AnswerScores(feasible_set, history, posterior)
    if pool is None:
        pool = _answer_pool(feasible_set, goal, answers)
    trained = hash_rows(history.observed)
    refused = hash_rows(history.observed[:0])
    for _ in range(MAX_REFUSALS):
        best_row = _best_row(feasible_set, goal, pool.without(refused), answers, refused)
        if best_row is None:
            return None
        # What was trained was counted by its own trace; what was not is shown only if it was, too.
        best_hash = hash_rows(best_row[None, :])
        if np.isin(best_hash, trained)[0] or feasible_set.confirms(best_row):
            return _describe(best_row, answers, goal, companion_parameters)
        refused = np.concatenate([refused, best_hash])
    return None


def judged_moments(
    posterior: ConstrainedPosterior, history: History, encoded: Floats
) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the metric of candidates that an answer names.

    Args:
        posterior: As fitted to the history.
        history: What was tried.
        encoded: The surrogate's columns of the candidates, [n, columns].

    Returns:
        Two arrays [n], higher is better. Of few trainings they integrate over all noise that
        explains them (`surrogate.difference`).
    """
    if len(history.values) > MAX_INTEGRATED:
        return posterior.metric.predict(encoded)
    posteriors = value_posteriors(
        posterior.train_inputs[: len(history.values)],
        history.values,
        encoded,
        width_count=history.observed.shape[1],
        fidelity=history.fidelity,
    )
    return (
        np.asarray([posterior.mean for posterior in posteriors]),
        np.asarray([posterior.deviation for posterior in posteriors]),
    )


def _answer_pool(feasible_set: FeasibleSet, goal: Goal, answers: _AnswerScores) -> AnswerPool:
    history = answers.history
    pool = feasible_set.candidate_pool(np.random.default_rng(0), history.top_observed)
    complete = feasible_set.enumerated and len(pool) <= MAX_SCORED
    if len(pool) > MAX_SCORED:
        pool = answers.shortlist(pool, goal)
    if not complete:
        observed = history.observed[feasible_set.is_feasible(history.observed)]
        pool = unique_rows(np.vstack([pool, observed]))
    is_excluded = history.is_excluded(pool, answers.companion_row)
    pool = pool[~is_excluded] if is_excluded.any() else pool
    log_feasible = None
    if len(pool):
        is_usable = answers.is_usable(pool)
        if is_usable.any():
            pool = pool[is_usable] if not is_usable.all() else pool
        else:
            log_feasible = answers.posterior.log_probability_feasible(answers.encode(pool))
    mean, deviation = np.empty(0), np.empty(0)
    if len(pool):
        mean, deviation = answers.posterior.metric.predict(answers.encode(pool))
    return AnswerPool(
        rows=pool, mean=mean, deviation=deviation, log_feasible=log_feasible, complete=complete
    )


def _best_row(
    feasible_set: FeasibleSet,
    goal: Goal,
    pool: AnswerPool,
    answers: _AnswerScores,
    refused: NDArray[np.uint64],
) -> NDArray[np.int64] | None:
    """Return the best candidate [d] as far as costs are forecast; None where all failed."""
    if not len(pool.rows):
        return None
    if pool.log_feasible is not None:
        return np.asarray(pool.rows[int(np.argmax(pool.log_feasible))])
    if goal.kind is GoalKind.SMALLEST:
        cost = np.asarray(feasible_set.cost_function(pool.rows)[goal.cost], dtype=np.float64)
        return np.asarray(pool.rows[_cheapest_confident(pool.mean, pool.deviation, cost, goal)])
    if pool.complete:
        return np.asarray(pool.rows[int(np.argmax(pool.lower_end))])
    starts = pool.rows[np.argsort(-pool.lower_end, kind="stable")[:_BEAM_STARTS]]
    return beam_search(feasible_set, answers, starts, np.random.default_rng(0), refused)


class _AnswerScores:
    """Scores candidates as answers: by their lower ends, −∞ for what cannot be one.

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
        mean, deviation = self.posterior.metric.predict(self.encode(candidates))
        is_possible = self.is_usable(candidates) & ~self.history.is_excluded(
            candidates, self.companion_row
        )
        return np.where(is_possible, mean - CAUTION_DEVIATIONS * deviation, -np.inf)

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

    def shortlist(self, pool: Candidates, goal: Goal) -> Candidates:
        """Return the best candidates of a large pool, by the polynomial surface.

        They are those with the best means and improvements, and where the goal uses a cost, those
        with the best means among what costs about as much.
        """
        encoded = self.encode(pool)
        polynomial_mean, _ = self.posterior.metric.polynomial_only().predict(encoded)
        top_by_mean = np.argpartition(-polynomial_mean, _SHORTLIST_SIZE)[:_SHORTLIST_SIZE]
        top = np.union1d(top_by_mean, top_by_ei(self.posterior, encoded, _SHORTLIST_SIZE))
        if goal.kind.uses_cost:
            cost = np.asarray(self.feasible_set.evaluate_costs(pool)[goal.cost], dtype=np.float64)
            top = np.union1d(top, _best_of_each_cost(cost, polynomial_mean))
        return pool[top]


def _best_of_each_cost(cost: Floats, mean: Floats) -> NDArray[np.intp]:
    """Return the indices of the best means in each of some bins of the logarithm of the cost."""
    log_cost = np.log(np.maximum(cost, 1.0))
    edges = np.linspace(log_cost.min(), log_cost.max(), _COST_BINS + 1)[1:-1]
    bins = np.searchsorted(edges, log_cost)
    order = np.lexsort((-mean, bins))
    starts = np.searchsorted(bins[order], np.arange(_COST_BINS))
    rank_in_bin = np.arange(len(order)) - starts[bins[order]]
    return np.asarray(order[rank_in_bin < _BEST_OF_A_BIN])


def _cheapest_confident(mean: Floats, deviation: Floats, cost: Floats, goal: Goal) -> int:
    """Return the index of the cheapest that meets the target, else of the likeliest or nearest."""
    cheapest = cheapest_index(is_good_enough(mean, deviation, goal), mean, cost)
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
    row_mean, row_deviation = judged_moments(
        answers.posterior, history, answers.encode(row[None, :])
    )
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
