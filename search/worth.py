"""The worth of training a candidate next, for each of the three goals.

A mixture of surfaces improves, in expectation, by the mean of what each of them expects; what each
must improve upon is its own belief of the best candidate seen, never a lucky metric.
Entry points: `worth`, and `contenders` for pools too large to judge every candidate closely.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from .acquisition import front_value, log_expected_improvement, reaches, smallest_value
from .belief import Belief
from .goals import Goal, good_enough, pareto_front

Floats = NDArray[np.float64]


def worth(belief: Belief, goal: Goal, encoded: Floats, cost: Floats, seen_cost: Floats) -> Floats:
    """Logarithm of the expected gain of training each candidate, [n].

    Args:
        belief: What is believed.
        goal: What is looked for.
        encoded: The candidates, [n, columns].
        cost: Their cost that the goal makes small, [n]; unused for the goal "best".
        seen_cost: That cost of `belief.seen`, [m].
    """
    chance = belief.log_chance(encoded)
    usable = belief.fit_to_use(belief.seen)
    if not usable.any():
        # Nothing seen keeps the measured limits: find something that does.
        return chance
    seen, seen_cost = belief.seen[usable], seen_cost[usable]
    parts = []
    for (weight, mean, deviation), (_, known, _) in zip(
        belief.metric.each(encoded), belief.metric.each(seen), strict=True
    ):
        parts.append(weight + _gain(goal, mean, deviation, cost, known, seen_cost))
    return np.asarray(logsumexp(np.array(parts), axis=0)) + chance


def _gain(
    goal: Goal, mean: Floats, deviation: Floats, cost: Floats, known: Floats, seen_cost: Floats
) -> Floats:
    """Logarithm of one surface's expected gain, [n]."""
    if goal.kind == "best":
        return log_expected_improvement(mean, deviation, float(known.max()))
    if goal.kind == "smallest":
        good = good_enough(known, goal)
        incumbent = float(seen_cost[good].min()) if good.any() else np.inf
        return smallest_value(mean, deviation, cost, goal.signed_target, incumbent)
    members = pareto_front(seen_cost, known)
    reference = (
        float(max(cost.max(), seen_cost.max())) * 1.1,
        float(min(mean.min(), known.min())),
    )
    front = np.column_stack([seen_cost[members], known[members]])
    return front_value(mean, deviation, cost, front, reference)


def contenders(belief: Belief, encoded: Floats, number: int) -> NDArray[np.intp]:
    """Indices of the candidates that the response surface alone expects most of, for "best".

    Exact, yet the costly logarithm is worked out for few: with z = (m − best) / s and s at most S,
    log EI ≤ log S + log h(z), which rises with z; candidates whose bound stays below the expected
    improvement of `number` others cannot be among them.
    """
    quick = belief.metric.quick()
    mean, deviation = quick.predict(encoded)
    known, _ = quick.predict(belief.seen)
    best, largest = float(known.max()), float(deviation.max())
    if largest == 0.0:
        return np.argpartition(-mean, min(number, len(mean) - 1))[:number]
    hopeful = mean + deviation
    first = np.argpartition(-hopeful, min(number, len(mean) - 1))[:number]
    lead = float(log_expected_improvement(mean[first], deviation[first], best).min())
    least = reaches(lead - np.log(largest))
    left = np.flatnonzero(mean - best >= least * deviation)
    score = log_expected_improvement(mean[left], deviation[left], best)
    if len(left) <= number:
        return left
    return left[np.argpartition(-score, number)[:number]]
