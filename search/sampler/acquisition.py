"""The worth of training a candidate next, for each of the three goals.

A mixture of surfaces improves, in expectation, by the mean of what each of them expects; what each
must improve upon is its own belief of the best candidate seen, never a lucky metric.
Entry points: `worth`, and `contenders` for pools too large to judge every candidate closely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..goal import Goal, good_enough, pareto_front
from .expected_improvement import front_value, log_expected_improvement, reaches, smallest_value
from .posterior import Belief

Floats = NDArray[np.float64]

# Seen candidates that every surface is asked about for the best one among them.
_SEEN = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Worth:
    """Judges candidates against what was seen.

    Attributes:
        belief: What is believed.
        goal: What is looked for.
        known: Each surface's means of the seen candidates that are fit to use, [surfaces, m].
        known_cost: The cost that the goal makes small, of the same, [m].
    """

    belief: Belief
    goal: Goal
    known: Floats
    known_cost: Floats

    def __call__(self, encoded: Floats, cost: Floats) -> Floats:
        """Logarithm of the expected gain of training each candidate, [n].

        Args:
            encoded: The candidates, [n, columns].
            cost: Their cost that the goal makes small, [n]; unused for the goal "best".
        """
        chance = self.belief.log_chance(encoded)
        if not self.known.size:
            # Nothing seen keeps the measured limits: find something that does.
            return chance
        parts = [
            weight + _gain(self.goal, mean, deviation, cost, known, self.known_cost)
            for (weight, mean, deviation), known in zip(
                self.belief.metric.each(encoded), self.known, strict=True
            )
        ]
        return np.asarray(logsumexp(np.array(parts), axis=0)) + chance


def worth(belief: Belief, goal: Goal, seen_cost: Floats) -> Worth:
    """A judge of candidates.

    Args:
        belief: What is believed.
        goal: What is looked for.
        seen_cost: The cost that the goal makes small, of `belief.seen`, [m].
    """
    usable = belief.fit_to_use(belief.seen)
    if len(usable) > _SEEN:
        # The best of thousands lies among those that the quick surface thinks best.
        mean = np.where(usable, belief.metric.quick_mean(belief.seen), -np.inf)
        usable &= mean >= np.partition(mean, -_SEEN)[-_SEEN]
    seen = belief.seen[usable]
    known = [mean for _, mean, _ in belief.metric.each(seen)] if len(seen) else []
    return Worth(
        belief=belief,
        goal=goal,
        known=np.array(known, dtype=np.float64),
        known_cost=seen_cost[usable],
    )


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
    best, largest = float(quick.quick_mean(belief.seen).max()), float(deviation.max())
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
