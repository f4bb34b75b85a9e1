"""The recommendation: which trained candidate to take, and whether the search gained anything.

The luckiest training is not the best network: with more trials the best *observed* one gets truly
worse (the winner's curse). So the recommended candidate is the one with the best posterior mean
under the surrogate, and it is judged against the plain baselines with the surrogate's noise.
Entry point: `recommend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..goal import CONFIDENCE, Goal, confidently_meets_target, good_enough, pareto_front
from ..sampler.baselines import LARGEST_FEASIBLE, RULE_OF_THUMB, UNIFORM_SCALING
from ..sampler.best_candidate import BestCandidate, best_candidate
from ..sampler.history import History
from ..sampler.posterior import fit_posterior
from ..space.feasible_set import FeasibleSet, stack_rows
from ..space.space import Space
from ..surrogate.blas_threads import single_blas_thread
from ..surrogate.model_average import fit_model_average
from ..trial.history import CompletedTrial

# Below this many trainings a surrogate has no ground: the best observed one is recommended.
_MIN_TRIALS = 4
BASELINE_ORIGINS = (LARGEST_FEASIBLE, UNIFORM_SCALING, RULE_OF_THUMB)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the surrogate believes of a trial's candidate, in the metric's unit.

    Attributes:
        mean: Metric without the luck of one training.
        deviation: Standard deviation of that belief.
    """

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The study's answer.

    Attributes:
        best_observed: Best observed trial for the goal, its luck included.
        recommended: The trial to take.
        estimates: The surrogate's belief for each trial, in the order of the trials; empty while
            there are too few.
        noise: Standard deviation of one training around the surface; None while there are too few.
        front: For the goal "front": the trials no other beats in both cost and metric.
        verdict: One sentence that judges the recommended trial against the baselines.
        best_candidate: The candidate believed to be best of all feasible ones, tried or not; None where the
            feasible set was not given or there are too few trials. Where it was not trained, one
            more trial would confirm it.
    """

    best_observed: CompletedTrial
    recommended: CompletedTrial
    estimates: Sequence[Estimate]
    noise: float | None
    front: Sequence[CompletedTrial]
    verdict: str
    best_candidate: BestCandidate | None = None


@single_blas_thread()
def recommend(
    space: Space, goal: Goal, trials: Sequence[CompletedTrial], feasible: FeasibleSet | None = None
) -> Recommendation | None:
    """Judge the completed trials of a study.

    Args:
        space: The lattice.
        goal: What was looked for.
        trials: The completed trials.
        feasible: All that could have been tried; without it only trained candidates are judged.

    Returns:
        The recommendation, or None while no trial is complete.
    """
    if not trials:
        return None
    observed = np.asarray([goal.sign * trial.value for trial in trials])
    if len(trials) < _MIN_TRIALS:
        posterior_mean, deviation, noise = observed, None, None
    else:
        encoded = space.encode(stack_rows([space.as_row(trial.widths) for trial in trials], space))
        posterior = fit_model_average(encoded, observed)
        posterior_mean, deviation = posterior.predict(encoded)
        noise = posterior.noise_deviation
    cost = np.asarray([trial.costs.get(goal.cost, 0) for trial in trials], dtype=np.float64)
    recommended_index, verdict = _judge_against_baselines(
        trials, posterior_mean, deviation, cost, goal, noise
    )
    return Recommendation(
        best_observed=trials[_best_index(observed, None, cost, goal)],
        recommended=trials[recommended_index],
        estimates=[]
        if deviation is None
        else [
            Estimate(mean=goal.sign * float(mean), deviation=float(standard_deviation))
            for mean, standard_deviation in zip(posterior_mean, deviation, strict=True)
        ],
        noise=noise,
        front=[trials[i] for i in pareto_front(cost, observed)] if goal.kind == "front" else [],
        verdict=verdict,
        best_candidate=None
        if feasible is None or len(trials) < _MIN_TRIALS
        else _best_feasible(feasible, goal, trials, observed),
    )


def _best_feasible(
    feasible: FeasibleSet,
    goal: Goal,
    trials: Sequence[CompletedTrial],
    observed: NDArray[np.float64],
) -> BestCandidate:
    space = feasible.space
    no_candidates = stack_rows([], space)
    history = History(
        observed=stack_rows([space.as_row(trial.widths) for trial in trials], space),
        values=observed,
        pending=no_candidates,
        failed=no_candidates,
    )
    return best_candidate(feasible, goal, history, fit_posterior(feasible, history))


def _reaches_target(
    metric: NDArray[np.float64], deviation: NDArray[np.float64] | None, goal: Goal
) -> NDArray[np.bool_]:
    """Which metrics meet the target: with confidence where there is a belief, else as observed."""
    if deviation is None:
        return good_enough(metric, goal)
    return confidently_meets_target(metric, deviation, goal)


def _best_index(
    metric: NDArray[np.float64],
    deviation: NDArray[np.float64] | None,
    cost: NDArray[np.float64],
    goal: Goal,
) -> int:
    """Index of the goal's pick; where nothing is good enough, of the best metric."""
    if goal.kind == "smallest":
        qualified = np.flatnonzero(_reaches_target(metric, deviation, goal))
        if len(qualified):
            return int(qualified[np.lexsort((-metric[qualified], cost[qualified]))[0]])
    return int(np.argmax(metric))


def _judge_against_baselines(
    trials: Sequence[CompletedTrial],
    posterior_mean: NDArray[np.float64],
    deviation: NDArray[np.float64] | None,
    cost: NDArray[np.float64],
    goal: Goal,
    noise: float | None,
) -> tuple[int, str]:
    """Index of the trial to take, and why: a baseline unless the search beats it beyond noise."""
    best_index = _best_index(posterior_mean, deviation, cost, goal)
    baseline_indices = [i for i, trial in enumerate(trials) if is_baseline(trial)]
    if goal.kind == "smallest":
        reaching = _reaches_target(posterior_mean, deviation, goal)
        if not reaching[best_index]:
            return best_index, (
                f"No trial is believed to reach the target {goal.target:g} with {CONFIDENCE:.0%} "
                "confidence: this is the best metric, not the smallest network."
            )
        baseline_indices = [i for i in baseline_indices if reaching[i]]
    if not baseline_indices:
        return best_index, "No baseline to judge it against: none of them has a metric that counts."
    if best_index in baseline_indices:
        return (
            best_index,
            f"No gain found: the baseline “{trials[best_index].origin}” is the best pick.",
        )
    if goal.kind == "smallest":
        best_baseline = min(baseline_indices, key=lambda i: cost[i])
        return best_index, (
            f"{cost[best_index] / cost[best_baseline]:.0%} of the {goal.cost} of the cheapest baseline that "
            f"reaches the target (“{trials[best_baseline].origin}”)."
        )
    best_baseline = max(baseline_indices, key=lambda i: posterior_mean[i])
    gain, baseline_name = (
        float(posterior_mean[best_index] - posterior_mean[best_baseline]),
        trials[best_baseline].origin,
    )
    if noise is None:
        return best_baseline, "Too few trials to tell a gain from the luck of a training."
    if gain <= noise:
        return best_baseline, (
            f"No gain found over the baseline “{baseline_name}”: the best other trial, number "
            f"{trials[best_index].number}, is believed to be {gain:+.4f} better, within the noise of "
            f"one training (±{noise:.4f})."
        )
    return best_index, (
        f"{gain:+.4f} better than the best baseline (“{baseline_name}”), noise of one training ±{noise:.4f}."
    )


def is_baseline(trial: CompletedTrial) -> bool:
    """Whether a trial's candidate was picked without any search."""
    return trial.origin.startswith(BASELINE_ORIGINS)
