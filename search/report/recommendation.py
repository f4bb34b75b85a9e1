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

from ..goal import CONFIDENCE, Goal, confident, good_enough, pareto_front
from ..sampler.baselines import LARGEST, THUMB, UNIFORM
from ..sampler.best_candidate import Pick, pick
from ..sampler.history import History
from ..sampler.posterior import believe
from ..space.feasible_set import FeasibleSet, rows
from ..space.space import Space
from ..surrogate.blas_threads import one_thread
from ..surrogate.model_average import fit
from ..trial.history import Trial

# Below this many trainings a surrogate has no ground: the best observed one is recommended.
_FEWEST = 4
BASELINE_NAMES = (LARGEST, UNIFORM, THUMB)


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
        best: Best observed trial for the goal, its luck included.
        recommended: The trial to take.
        estimates: The surrogate's belief for each trial, in the order of the trials; empty while
            there are too few.
        noise: Standard deviation of one training around the surface; None while there are too few.
        front: For the goal "front": the trials no other beats in both cost and metric.
        verdict: One sentence that judges the recommended trial against the baselines.
        pick: The candidate believed to be best of all feasible ones, tried or not; None where the
            feasible set was not given or there are too few trials. Where it was not trained, one
            more trial would confirm it.
    """

    best: Trial
    recommended: Trial
    estimates: Sequence[Estimate]
    noise: float | None
    front: Sequence[Trial]
    verdict: str
    pick: Pick | None = None


@one_thread()
def recommend(
    space: Space, goal: Goal, trials: Sequence[Trial], feasible: FeasibleSet | None = None
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
    if len(trials) < _FEWEST:
        believed, deviation, noise = observed, None, None
    else:
        encoded = space.encode(rows([space.as_row(trial.widths) for trial in trials], space))
        posterior = fit(encoded, observed)
        believed, deviation = posterior.predict(encoded)
        noise = posterior.noise
    cost = np.asarray([trial.costs.get(goal.cost, 0) for trial in trials], dtype=np.float64)
    chosen, verdict = _judge(trials, believed, deviation, cost, goal, noise)
    return Recommendation(
        best=trials[_choose(observed, None, cost, goal)],
        recommended=trials[chosen],
        estimates=[]
        if deviation is None
        else [
            Estimate(mean=goal.sign * float(mean), deviation=float(spread))
            for mean, spread in zip(believed, deviation, strict=True)
        ],
        noise=noise,
        front=[trials[i] for i in pareto_front(cost, observed)] if goal.kind == "front" else [],
        verdict=verdict,
        pick=None
        if feasible is None or len(trials) < _FEWEST
        else _pick(feasible, goal, trials, observed),
    )


def _pick(
    feasible: FeasibleSet, goal: Goal, trials: Sequence[Trial], observed: NDArray[np.float64]
) -> Pick:
    space = feasible.space
    none = rows([], space)
    history = History(
        observed=rows([space.as_row(trial.widths) for trial in trials], space),
        values=observed,
        pending=none,
        failed=none,
    )
    return pick(feasible, goal, history, believe(feasible, history))


def _good(
    metric: NDArray[np.float64], deviation: NDArray[np.float64] | None, goal: Goal
) -> NDArray[np.bool_]:
    """Which metrics meet the target: with confidence where there is a belief, else as observed."""
    if deviation is None:
        return good_enough(metric, goal)
    return confident(metric, deviation, goal)


def _choose(
    metric: NDArray[np.float64],
    deviation: NDArray[np.float64] | None,
    cost: NDArray[np.float64],
    goal: Goal,
) -> int:
    """Index of the goal's pick; where nothing is good enough, of the best metric."""
    if goal.kind == "smallest":
        good = np.flatnonzero(_good(metric, deviation, goal))
        if len(good):
            return int(good[np.lexsort((-metric[good], cost[good]))[0]])
    return int(np.argmax(metric))


def _judge(
    trials: Sequence[Trial],
    believed: NDArray[np.float64],
    deviation: NDArray[np.float64] | None,
    cost: NDArray[np.float64],
    goal: Goal,
    noise: float | None,
) -> tuple[int, str]:
    """Index of the trial to take, and why: a baseline unless the search beats it beyond noise."""
    chosen = _choose(believed, deviation, cost, goal)
    plain = [i for i, trial in enumerate(trials) if is_baseline(trial)]
    if goal.kind == "smallest":
        good = _good(believed, deviation, goal)
        if not good[chosen]:
            return chosen, (
                f"No trial is believed to reach the target {goal.target:g} with {CONFIDENCE:.0%} "
                "confidence: this is the best metric, not the smallest network."
            )
        plain = [i for i in plain if good[i]]
    if not plain:
        return chosen, "No baseline to judge it against: none of them has a metric that counts."
    if chosen in plain:
        return chosen, f"No gain found: the baseline “{trials[chosen].origin}” is the best pick."
    if goal.kind == "smallest":
        rival = min(plain, key=lambda i: cost[i])
        return chosen, (
            f"{cost[chosen] / cost[rival]:.0%} of the {goal.cost} of the cheapest baseline that "
            f"reaches the target (“{trials[rival].origin}”)."
        )
    rival = max(plain, key=lambda i: believed[i])
    gain, name = float(believed[chosen] - believed[rival]), trials[rival].origin
    if noise is None:
        return rival, "Too few trials to tell a gain from the luck of a training."
    if gain <= noise:
        return rival, (
            f"No gain found over the baseline “{name}”: the best other trial, number "
            f"{trials[chosen].number}, is believed to be {gain:+.4f} better, within the noise of "
            f"one training (±{noise:.4f})."
        )
    return chosen, (
        f"{gain:+.4f} better than the best baseline (“{name}”), noise of one training ±{noise:.4f}."
    )


def is_baseline(trial: Trial) -> bool:
    """Whether a trial's candidate was picked without any search."""
    return trial.origin.startswith(BASELINE_NAMES)
