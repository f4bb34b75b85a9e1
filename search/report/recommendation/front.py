"""The front: the candidates that none is believed to beat in both metric and cost, and its knee.

The front is drawn from what all feasible candidates are judged at, tried or not: the lower ends of
their posteriors (`AnswerPool.lower_end`), since an observed front is one of lucky trainings. Its
knee is where a little more cost stops to bring much: the point of greatest distance above the
straight line from the cheapest to the best, with the cost on a logarithmic scale and both axes
scaled to [0, 1].
Source: Satopää et al., Finding a "Kneedle" in a Haystack (2011), §III, for the concave case.

Entry points: `describe_front`; `posterior_front` and `knee_index` are what it stands on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...goal import pareto_front
from ...sampler.best_candidate import MAX_REFUSALS
from ...space.neighbourhood import hash_rows
from ...surrogate.observations import Floats
from .candidate import KNEE, JudgedCandidate
from .judged_study import JudgedStudy

MAX_FRONT = 12
"""Points of a front that are shown: of more, those spread evenly over the logarithm of the cost."""


def describe_front(study: JudgedStudy) -> tuple[list[JudgedCandidate], JudgedCandidate | None]:
    """Return the front of a study, by rising cost, and its knee; observed without a surrogate."""
    if study.posterior is None:
        rows = [study.describe("front", trial.widths) for trial in study.trials]
        costs = [trial.costs.get(study.goal.cost, 0) for trial in study.trials]
        cost, quality = np.asarray(costs, dtype=np.float64), study.values
        front = posterior_front(cost, quality)
        candidates = [rows[index] for index in front]
    else:
        pool = study.pool
        cost, quality = study.pool_costs, pool.lower_end
        trained = hash_rows(study.history.observed)
        is_known = np.isin(hash_rows(pool.rows), trained)
        kept = np.arange(len(pool.rows))
        front = posterior_front(cost, quality)
        # An untried one whose forecast of costs is wrong is no point of the front. Where too many
        # are, no forecast is relied on: those that were trained make the front.
        refusals = 0
        while refused := [
            int(index)
            for index in front
            if not is_known[kept[index]] and not study.feasible.confirms(pool.rows[kept[index]])
        ]:
            refusals += len(refused)
            kept = np.delete(kept, refused)
            if refusals >= MAX_REFUSALS:
                kept = kept[is_known[kept]]
            front = posterior_front(cost[kept], quality[kept])
        cost, quality = cost[kept], quality[kept]
        candidates = [
            study.describe("front", study.space.as_mapping(pool.rows[kept[index]]))
            for index in front
        ]
    knee = knee_index(cost[front], quality[front])
    return candidates, None if knee is None else replace(candidates[knee], label=KNEE)


def posterior_front(cost: Floats, quality: Floats) -> NDArray[np.intp]:
    """Return the indices of at most `MAX_FRONT` points of the front, by rising cost.

    The cheapest, the best and the knee are always among them.

    Args:
        cost: Costs, [n], positive.
        quality: What they are judged at, [n], higher is better.
    """
    front = pareto_front(cost, quality)
    if len(front) <= MAX_FRONT:
        return front
    log_cost = np.log(np.maximum(cost[front], 1.0))
    targets = np.linspace(log_cost[0], log_cost[-1], MAX_FRONT - 1)
    # The last at or below each step of the cost: what so much money buys.
    chosen = np.searchsorted(log_cost, targets + 1e-12, side="right") - 1
    knee = knee_index(cost[front], quality[front])
    kept = {0, len(front) - 1, *chosen.tolist()}
    if knee is not None:
        kept.add(knee)
    return front[sorted(kept)]


def knee_index(cost: Floats, quality: Floats) -> int | None:
    """Return the index of the knee of a front by rising cost; None of fewer than three points.

    For costs 1, 10, 100 and metrics 0, 0.8, 1.0 the line passes 0.5 in the middle, and the second
    point stands 0.3 above it: the knee.
    """
    if len(cost) < 3:
        return None
    log_cost = np.log(np.maximum(cost, 1.0))
    cost_span, quality_span = log_cost[-1] - log_cost[0], quality[-1] - quality[0]
    if cost_span <= 0 or quality_span <= 0:
        return None
    height = (quality - quality[0]) / quality_span - (log_cost - log_cost[0]) / cost_span
    best = int(np.argmax(height))
    return best if height[best] > 0 else None
