"""The recommendation: which trained candidate to take, and whether the search gained anything.

The luckiest training is not the best network: with more trials the best *observed* one gets truly
worse (the winner's curse). So the recommended trial is the one with the best posterior mean under
the surrogate, and it is judged against the plain baselines with the surrogate's noise. Which of
all feasible candidates is best, trained or not, is `best_candidate`'s answer.
Entry point: `recommend`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...goal import (
    CONFIDENCE,
    Goal,
    GoalKind,
    cheapest_index,
    confidently_meets_target,
    meets_target,
    pareto_front,
)
from ...sampler.best_candidate import MIN_TRAININGS, BestCandidate, best_candidate
from ...sampler.history import History
from ...sampler.posterior import fit_posterior
from ...space.feasible_set import FeasibleSet, stack_rows
from ...space.space import Space
from ...surrogate.blas_threads import single_blas_thread
from ...surrogate.observations import Floats
from ...trial.history import CompletedTrial


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The surrogate's posterior of a trial's candidate, in the metric's unit.

    Attributes:
        mean: Metric without the luck of one training.
        deviation: Standard deviation.
    """

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The study's answer.

    Attributes:
        best_observed: Best observed trial for the goal, its luck included.
        recommended: The trial to take.
        verdict: One sentence that judges the recommended trial against the baselines.
        estimates: The surrogate's posterior by trial number; empty while there are too few.
        noise: Standard deviation of one training around the surface; None while there are too few.
        front: For the goal "front": the trials no other beats in both cost and metric.
        best_candidate: The best of all feasible candidates, tried or not; None where the feasible
            set was not given, all of it failed or there are too few trials. Where it was not
            trained, one more trial would confirm it.
    """

    best_observed: CompletedTrial
    recommended: CompletedTrial
    verdict: str
    estimates: Mapping[int, Estimate] = field(default_factory=dict)
    noise: float | None = None
    front: Sequence[CompletedTrial] = ()
    best_candidate: BestCandidate | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """Completed trials with what they are judged by.

    Attributes:
        trials: The trials.
        metric: Posterior means, or the observed metrics while there is no posterior, [n], signed.
        deviation: Posterior standard deviations, [n]; None while there is no posterior.
        cost: The cost that the goal makes small, [n].
        noise: Standard deviation of one training; None while there is no posterior.
    """

    trials: Sequence[CompletedTrial]
    metric: Floats
    deviation: Floats | None
    cost: Floats
    noise: float | None

    def qualifies(self, goal: Goal) -> NDArray[np.bool_]:
        """Return which meet the target, [n]: with confidence where there is a posterior."""
        if self.deviation is None:
            return meets_target(self.metric, goal)
        return confidently_meets_target(self.metric, self.deviation, goal)

    def best_index(self, goal: Goal) -> int:
        """Return the index of the best for the goal; of the best metric where none qualifies."""
        if goal.kind is GoalKind.SMALLEST:
            cheapest = cheapest_index(self.qualifies(goal), self.metric, self.cost)
            if cheapest is not None:
                return cheapest
        return int(np.argmax(self.metric))


@single_blas_thread()
def recommend(
    space: Space,
    goal: Goal,
    trials: Sequence[CompletedTrial],
    history: History,
    feasible: FeasibleSet | None = None,
) -> Recommendation | None:
    """Judge the completed trials of a study.

    Args:
        space: The lattice.
        goal: What was looked for.
        trials: The completed trials.
        history: All trials, the failed ones among them, as the sampler sees them.
        feasible: All that could have been tried; without it only trained candidates are judged.

    Returns:
        The recommendation, or None while no trial is complete.
    """
    if not trials:
        return None
    cost = np.asarray([trial.costs.get(goal.cost, 0) for trial in trials], dtype=np.float64)
    observed = _Judged(
        trials=trials,
        metric=np.asarray([goal.sign * trial.value for trial in trials]),
        deviation=None,
        cost=cost,
        noise=None,
    )
    judged, estimates, answer = observed, {}, None
    if len(trials) >= MIN_TRAININGS:
        posterior = fit_posterior(space, history)
        rows = stack_rows([space.as_row(trial.widths) for trial in trials], space)
        mean, deviation = posterior.metric.predict(space.encode(rows))
        noise = posterior.metric.noise_deviation
        judged = _Judged(trials=trials, metric=mean, deviation=deviation, cost=cost, noise=noise)
        estimates = {
            trial.number: Estimate(mean=goal.sign * float(mean), deviation=float(deviation))
            for trial, mean, deviation in zip(trials, mean, deviation, strict=True)
        }
        if feasible is not None:
            answer = best_candidate(feasible, goal, history, posterior)
    recommended_index, verdict = _judge_against_baselines(judged, observed, goal)
    front_indices = (
        pareto_front(cost, observed.metric).tolist() if goal.kind is GoalKind.FRONT else []
    )
    return Recommendation(
        best_observed=trials[observed.best_index(goal)],
        recommended=trials[recommended_index],
        verdict=verdict,
        estimates=estimates,
        noise=judged.noise,
        front=[trials[index] for index in front_indices],
        best_candidate=answer,
    )


def _judge_against_baselines(judged: _Judged, observed: _Judged, goal: Goal) -> tuple[int, str]:
    """Return the index of the trial to take, and why.

    It is a baseline unless the search beats it by more than the noise of a training.
    """
    trials, best_index = judged.trials, judged.best_index(goal)
    baselines = [index for index, trial in enumerate(trials) if trial.origin.is_baseline]
    if goal.kind is GoalKind.SMALLEST:
        qualifies = judged.qualifies(goal)
        if not qualifies[best_index]:
            return best_index, _describe_missed_target(observed, goal)
        baselines = [index for index in baselines if qualifies[index]]
    if not baselines:
        return best_index, "No baseline to judge it against: none of them has a metric that counts."
    if best_index in baselines:
        name = trials[best_index].origin
        return best_index, f"No gain found: the baseline “{name}” is the best pick."
    if goal.kind is GoalKind.SMALLEST:
        return best_index, _describe_saving(judged, goal, best_index, baselines)
    return _judge_gain(judged, best_index, baselines)


def _describe_missed_target(observed: _Judged, goal: Goal) -> str:
    """Return the sentence for a study in which no trial is believed to reach the target."""
    best = observed.trials[int(np.argmax(observed.metric))]
    if not meets_target(observed.metric, goal).any():
        return (
            f"Nothing reaches the target {goal.target:g}: the best is {best.value:.4g}, of trial "
            f"{best.number}. Recommended is what is believed to come nearest, not the smallest "
            "network; lower the target, raise the limits, or train longer."
        )
    return (
        f"No trial is believed to reach the target {goal.target:g} with {CONFIDENCE:.0%} "
        f"confidence, though trial {best.number} was measured at {best.value:.4g}: this is the "
        "best metric, not the smallest network."
    )


def _describe_saving(judged: _Judged, goal: Goal, best_index: int, baselines: Sequence[int]) -> str:
    """Return the sentence for a trial that is smaller than the baselines that reach the target."""
    cheapest = min(baselines, key=lambda index: judged.cost[index])
    share = judged.cost[best_index] / judged.cost[cheapest]
    return (
        f"{share:.0%} of the {goal.cost} of the cheapest baseline that reaches the target "
        f"(“{judged.trials[cheapest].origin}”)."
    )


def _judge_gain(judged: _Judged, best_index: int, baselines: Sequence[int]) -> tuple[int, str]:
    """Return the best trial where it beats the best baseline beyond noise, else that baseline."""
    best_baseline = max(baselines, key=lambda index: judged.metric[index])
    gain = float(judged.metric[best_index] - judged.metric[best_baseline])
    name = judged.trials[best_baseline].origin
    if judged.noise is None:
        return best_baseline, "Too few trials to tell a gain from the luck of a training."
    if gain <= judged.noise:
        return best_baseline, (
            f"No gain found over the baseline “{name}”: the best other trial, number "
            f"{judged.trials[best_index].number}, is believed to be {gain:+.4f} better, within the "
            f"noise of one training (±{judged.noise:.4f})."
        )
    return best_index, (
        f"{gain:+.4f} better than the best baseline (“{name}”), noise of one training "
        f"±{judged.noise:.4f}."
    )
