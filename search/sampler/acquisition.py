"""The acquisition function: the expected gain of training a candidate, for each of the three goals.

Under a mixture of models the expected gain is the weighted mean of each model's; what a model's
candidate must improve upon is that model's mean of the best observed candidate, never a lucky
metric. Entry points: `make_acquisition_function`, and `top_by_ei` for pools too large to score
every candidate closely.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..goal import Goal, GoalKind, meets_target, pareto_front, settle_target
from ..surrogate.observations import MIN_DEVIATION, Floats
from .expected_improvement import (
    inverse_log_ei,
    log_expected_hypervolume_improvement,
    log_expected_improvement,
    log_expected_saving,
)
from .posterior import ConstrainedPosterior

MAX_SCORED = 20_000
"""Candidates that every model scores, in some 50 ms; of more, a shortlist is scored."""

# Observed candidates that every model predicts, for the best one among them.
_MAX_OBSERVED = 512
# Share of the cost that one would train again for.
_WORTHWHILE_SAVING = 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class AcquisitionFunction:
    """Scores candidates against what was observed.

    Attributes:
        posterior: Of all candidates.
        goal: What is looked for.
        observed_means: Each model's means of the observed candidates that are likely feasible,
            [models, m].
        observed_costs: The cost that the goal makes small, of the same, [m].
    """

    posterior: ConstrainedPosterior
    goal: Goal
    observed_means: Floats
    observed_costs: Floats

    def __call__(self, encoded: Floats, cost: Floats, *, noise: float = 0.0) -> Floats:
        """Return the logarithm of the expected gain of training each candidate, [n].

        Args:
            encoded: The candidates, [n, columns].
            cost: Their cost that the goal makes small, [n]; unused for the goal "best".
            noise: Standard deviation of a training. With 0 a training tells a candidate's metric,
                which is what to explore by; with more it moves what is believed of it by
                s² / √(s² + noise²) only, s being its deviation: the knowledge gradient of
                independent candidates (Frazier, Powell and Dayanik, 2008).
        """
        log_feasible = self.posterior.log_probability_feasible(encoded)
        if not self.observed_means.size:
            # Nothing observed keeps the measured limits: find something that does.
            return log_feasible
        component_terms = [
            weight
            + _log_expected_gain(
                self.goal,
                mean,
                deviation * (deviation / np.hypot(deviation, noise)),
                cost,
                component_observed_means,
                self.observed_costs,
            )
            for (weight, mean, deviation), component_observed_means in zip(
                self.posterior.metric.mixture_components(encoded), self.observed_means, strict=True
            )
        ]
        return np.asarray(logsumexp(np.array(component_terms), axis=0)) + log_feasible


def make_acquisition_function(
    posterior: ConstrainedPosterior, goal: Goal, train_costs: Floats
) -> AcquisitionFunction:
    """Return the acquisition function for a goal.

    Args:
        posterior: Of all candidates.
        goal: What is looked for.
        train_costs: The cost that the goal makes small, of `posterior.train_inputs`, [m].
    """
    is_usable = posterior.is_probably_feasible(posterior.train_inputs)
    if len(is_usable) > _MAX_OBSERVED:
        # The best of thousands lies among those with the best polynomial means.
        mean = np.where(
            is_usable, posterior.metric.polynomial_mean(posterior.train_inputs), -np.inf
        )
        is_usable &= mean >= np.partition(mean, -_MAX_OBSERVED)[-_MAX_OBSERVED]
    usable_inputs = posterior.train_inputs[is_usable]
    observed_means = (
        [mean for _, mean, _ in posterior.metric.mixture_components(usable_inputs)]
        if len(usable_inputs)
        else []
    )
    return AcquisitionFunction(
        posterior=posterior,
        goal=_settled_goal(posterior, goal, usable_inputs),
        observed_means=np.array(observed_means, dtype=np.float64),
        observed_costs=train_costs[is_usable],
    )


def gain_unit(posterior: ConstrainedPosterior, goal: Goal) -> float:
    """Return the expected gain that is as much as the noise of one training, in the goal's unit.

    For "best" that is the noise itself; for "front", whose gain is an area, the noise over costs
    that are e times each other; for "smallest", whose gain is the logarithm of the cost that is
    saved, a fifth of the cost.
    """
    if goal.kind is GoalKind.SMALLEST and not _looks_for_best(posterior, goal):
        return _WORTHWHILE_SAVING
    return max(posterior.metric.noise_deviation, MIN_DEVIATION)


def _looks_for_best(posterior: ConstrainedPosterior, goal: Goal) -> bool:
    """Return whether the next training looks for the best, to know what is good enough."""
    without_target = goal.kind is GoalKind.SMALLEST and goal.target is None
    return without_target and len(posterior.train_inputs) % 2 == 0


def _settled_goal(posterior: ConstrainedPosterior, goal: Goal, usable_inputs: Floats) -> Goal:
    """Return the goal; "smallest" without a target aims at what is known to be reached.

    Every other training it looks for the best instead: how good the best is decides on what is
    good enough, and the cheapest that is known to suffice would never show it.
    """
    if goal.kind is not GoalKind.SMALLEST or goal.target is not None:
        return goal
    if not len(usable_inputs) or _looks_for_best(posterior, goal):
        return replace(goal, kind=GoalKind.BEST)
    mean, deviation = posterior.metric.predict(usable_inputs)
    best = int(np.argmax(mean))
    return settle_target(goal, goal.sign * float(mean[best]), float(deviation[best]))


def _log_expected_gain(
    goal: Goal,
    mean: Floats,
    deviation: Floats,
    cost: Floats,
    observed_means: Floats,
    observed_costs: Floats,
) -> Floats:
    """Return the logarithm of one model's expected gain, [n]."""
    match goal.kind:
        case GoalKind.BEST:
            return log_expected_improvement(mean, deviation, float(observed_means.max()))
        case GoalKind.SMALLEST:
            is_good = meets_target(observed_means, goal)
            incumbent = float(observed_costs[is_good].min()) if is_good.any() else np.inf
            return log_expected_saving(mean, deviation, cost, goal.signed_target, incumbent)
        case GoalKind.FRONT:
            front_indices = pareto_front(observed_costs, observed_means)
            reference = (
                float(max(cost.max(), observed_costs.max())) * 1.1,
                float(min(mean.min(), observed_means.min())),
            )
            front = np.column_stack([observed_costs[front_indices], observed_means[front_indices]])
            return log_expected_hypervolume_improvement(mean, deviation, cost, front, reference)


def top_by_ei(posterior: ConstrainedPosterior, encoded: Floats, count: int) -> NDArray[np.intp]:
    """Return the indices of the candidates with the most expected improvement, for "best".

    The polynomial surface alone is asked.

    Exact, yet the costly logarithm is worked out for few: with z = (m − best) / s and s at most S,
    log EI ≤ log S + log h(z), which rises with z; candidates whose bound stays below the expected
    improvement of `count` others cannot be among them.
    """
    polynomial = posterior.metric.polynomial_only()
    mean, deviation = polynomial.predict(encoded)
    incumbent, max_deviation = (
        float(polynomial.polynomial_mean(posterior.train_inputs).max()),
        float(deviation.max()),
    )
    if max_deviation <= MIN_DEVIATION:
        return np.argpartition(-mean, min(count, len(mean) - 1))[:count]
    upper_bounds = mean + deviation
    initial_top = np.argpartition(-upper_bounds, min(count, len(mean) - 1))[:count]
    worst_log_ei = float(
        log_expected_improvement(mean[initial_top], deviation[initial_top], incumbent).min()
    )
    min_z = inverse_log_ei(worst_log_ei - np.log(max_deviation))
    survivors = np.flatnonzero(mean - incumbent >= min_z * deviation)
    score = log_expected_improvement(mean[survivors], deviation[survivors], incumbent)
    if len(survivors) <= count:
        return survivors
    return survivors[np.argpartition(-score, count)[:count]]
