"""The pick: the candidate that is believed to be best now, among tried and untried ones.

The luckiest training is not the best network. The pick has the best posterior mean of all feasible
candidates, whether trained or not, and comes with an interval. Entry point: `best_candidate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..goal import Goal, confidently_meets_target
from ..space.feasible_set import Candidates, FeasibleSet, hash_rows
from ..space.local_search import beam_search
from .acquisition import top_by_ei
from .companions import CompanionParameters
from .history import History
from .posterior import ConstrainedPosterior, encode_candidates

Floats = NDArray[np.float64]

INTERVAL_DEVIATIONS = 1.96
"""Standard deviations on either side of the mean: 95 % of a normal belief."""

# Feasible candidates that are judged by every surface; of more, the likeliest are.
_MAX_SCORED = 20_000
_SHORTLIST_SIZE = 4096


@dataclass(frozen=True, kw_only=True)
class BestCandidate:
    """A recommended candidate.

    Attributes:
        widths: Its widths by name.
        mean: Its metric as believed, without the luck of one training, in the metric's own sign.
        deviation: Standard deviation of that belief.
        low: Lower end of the 95 % interval of the metric.
        high: Upper end.
        trained: Whether it was trained; if not, one training would confirm it.
        companions: Values of the parameters that ride along.
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
) -> BestCandidate:
    """The candidate to take for a goal.

    Args:
        feasible_set: The candidates.
        goal: "best" and "front" pick the best mean; "smallest" the cheapest that is believed to
            meet the target with confidence, or the likeliest to where none is.
        history: What was tried; with companions, only those that were tried are picked.
        posterior: What it makes one believe.
        companion_parameters: Turns encoded companions into parameters.
    """
    rng = np.random.default_rng(0)
    best_companions = (
        None if history.encoded_companions is None else _best_companions(posterior, history)
    )

    def predict_penalised(candidates: Candidates) -> tuple[Floats, Floats]:
        encoded = _encode_with_companions(feasible_set, candidates, best_companions)
        mean, deviation = posterior.metric.predict(encoded)
        return np.where(
            posterior.is_probably_feasible(encoded), mean, mean - 1e6 * (1 + abs(mean))
        ), deviation

    top_observed = history.observed[np.argsort(-history.values, kind="stable")[:4]]
    pool = feasible_set.candidate_pool(rng, top_observed)
    score_all = feasible_set.enumerated and len(pool) <= _MAX_SCORED
    if len(pool) > _MAX_SCORED:
        encoded = _encode_with_companions(feasible_set, pool, best_companions)
        polynomial_mean, _ = posterior.metric.polynomial_only().predict(encoded)
        top_by_mean = np.argpartition(-polynomial_mean, _SHORTLIST_SIZE)[:_SHORTLIST_SIZE]
        top_indices = top_by_ei(posterior, encoded, _SHORTLIST_SIZE)
        pool = pool[np.union1d(top_by_mean, top_indices)]
    if not score_all:
        pool = np.vstack([pool, history.observed[feasible_set.is_feasible(history.observed)]])
    mean, deviation = predict_penalised(pool)
    if goal.kind == "smallest":
        cost = np.asarray(feasible_set.cost_function(pool)[goal.cost], dtype=np.float64)
        best_row = pool[_cheapest_confident(mean, deviation, cost, goal)]
    elif not score_all:
        starts = pool[np.argsort(-mean, kind="stable")[:8]]
        no_hashes = np.empty(0, dtype=np.uint64)
        best_row = beam_search(
            feasible_set, lambda rows: predict_penalised(rows)[0], starts, no_hashes, rng
        )
    else:
        best_row = pool[int(np.argmax(mean))]
    row_mean, row_deviation = posterior.metric.predict(
        _encode_with_companions(feasible_set, best_row[None, :], best_companions)
    )
    best_mean, best_deviation = goal.sign * float(row_mean[0]), float(row_deviation[0])
    trained_hashes = hash_rows(history.observed[history.is_full_fidelity])
    return BestCandidate(
        widths=feasible_set.space.as_mapping(best_row),
        mean=best_mean,
        deviation=best_deviation,
        low=best_mean - INTERVAL_DEVIATIONS * best_deviation,
        high=best_mean + INTERVAL_DEVIATIONS * best_deviation,
        trained=bool(np.isin(hash_rows(best_row[None, :]), trained_hashes)[0]),
        companions={}
        if companion_parameters is None or best_companions is None
        else companion_parameters.decode(best_companions),
    )


def _cheapest_confident(mean: Floats, deviation: Floats, cost: Floats, goal: Goal) -> int:
    confident_indices = np.flatnonzero(confidently_meets_target(mean, deviation, goal))
    if len(confident_indices):
        return int(
            confident_indices[np.lexsort((-mean[confident_indices], cost[confident_indices]))[0]]
        )
    return int(np.argmax((mean - goal.signed_target) / np.maximum(deviation, 1e-12)))


def _best_companions(posterior: ConstrainedPosterior, history: History) -> Floats:
    """The companions of the observed trial that is believed to be best, [columns]."""
    assert history.encoded_companions is not None
    mean, _ = posterior.metric.predict(posterior.train_inputs[: len(history.values)])
    return np.asarray(history.encoded_companions[int(np.argmax(mean))])


def _encode_with_companions(
    feasible_set: FeasibleSet, candidates: Candidates, companion_row: Floats | None
) -> Floats:
    companion_rows = None if companion_row is None else np.tile(companion_row, (len(candidates), 1))
    return encode_candidates(feasible_set, candidates, companion_rows)
