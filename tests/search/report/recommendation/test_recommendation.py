"""The recommendation: judged by the surrogate, not by luck; honest where there is no gain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from widthwise.search.goal import Goal
from widthwise.search.report.recommendation.recommendation import Recommendation, recommend
from widthwise.search.sampler.baselines import LARGEST_FEASIBLE
from widthwise.search.sampler.history import TriedCandidate, TriedState, make_history
from widthwise.search.sampler.origin import SAMPLER, Origin
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.history import CompletedTrial

SPACE = Space((Width.range("a", 8, 64, step=8), Width.range("b", 8, 64, step=8)))


def cost(candidates: np.ndarray) -> Mapping[str, np.ndarray]:
    return {"flops": 2 * candidates.prod(axis=1)}


def make_trial(number: int, a: int, b: int, value: float) -> CompletedTrial:
    return CompletedTrial(
        number=number,
        widths={"a": a, "b": b},
        origin=Origin.baseline(LARGEST_FEASIBLE) if number == 0 else SAMPLER,
        value=value,
        test=None,
        costs={"flops": 2 * a * b},
        seed=number,
    )


def judge(
    goal: Goal, trials: list[CompletedTrial], feasible: FeasibleSet | None = None
) -> Recommendation | None:
    """Recommend where nothing but these trials was tried."""
    history = make_history(
        [
            TriedCandidate(
                row=SPACE.as_row(trial.widths),
                state=TriedState.COMPLETE,
                scores=[(1.0, goal.sign * trial.value)],
            )
            for trial in trials
        ],
        SPACE,
    )
    return recommend(SPACE, goal, trials, history, feasible)


def quality(a: int, b: int) -> float:
    return 0.9 - 0.05 * ((np.log2(a) - 4.5) ** 2 + (np.log2(b) - 4.5) ** 2)


def make_trials(noise: float, count: int = 24, flat: bool = False) -> list[CompletedTrial]:
    rng = np.random.default_rng(0)
    everything = SPACE.enumerate()
    rows = [[64, 64], *everything[rng.choice(len(everything) - 1, size=count, replace=False)]]
    return [
        make_trial(i, int(a), int(b), (0.8 if flat else quality(a, b)) + rng.normal(0, noise))
        for i, (a, b) in enumerate(rows)
    ]


def test_no_trial_no_recommendation() -> None:
    assert judge(Goal(), []) is None


def test_a_real_gain_is_found_and_put_in_figures() -> None:
    answer = judge(Goal(), make_trials(0.005))
    assert answer is not None
    assert answer.verdict.startswith("+")
    assert "largest that fits" in answer.verdict
    assert quality(**answer.recommended.widths) > 0.87


def test_luck_alone_is_no_gain() -> None:
    answer = judge(Goal(), make_trials(0.02, flat=True))
    assert answer is not None
    assert answer.verdict.startswith("No gain found")
    assert answer.recommended.number == 0
    assert answer.best_observed.number != 0


def test_the_best_candidate_may_be_untried_and_says_so() -> None:
    feasible = FeasibleSet(SPACE, Limits(flops=4000), cost)
    some = [
        each_trial for each_trial in make_trials(0.005, 16) if each_trial.costs["flops"] <= 4000
    ]
    answer = judge(Goal(), some, feasible)
    assert answer is not None
    assert answer.best_candidate is not None
    tried = [dict(each_trial.widths) for each_trial in some]
    assert answer.best_candidate.trained == (dict(answer.best_candidate.widths) in tried)
    assert answer.best_candidate.low < answer.best_candidate.mean < answer.best_candidate.high
    assert abs(answer.best_candidate.mean - quality(**answer.best_candidate.widths)) < 0.03


def test_a_lower_metric_can_be_better() -> None:
    lower = [
        make_trial(
            each_trial.number, each_trial.widths["a"], each_trial.widths["b"], -each_trial.value
        )
        for each_trial in make_trials(0.005)
    ]
    answer = judge(Goal(direction="minimize"), lower)
    assert answer is not None
    assert quality(**answer.recommended.widths) > 0.87
    assert answer.estimates[0].mean < 0


def test_the_smallest_needs_confidence() -> None:
    goal = Goal(kind="smallest", target=0.8, cost="flops")
    answer = judge(goal, make_trials(0.005))
    assert answer is not None
    assert quality(**answer.recommended.widths) > 0.79
    hopeless = Goal(kind="smallest", target=0.99, cost="flops")
    answer = judge(hopeless, make_trials(0.005))
    assert answer is not None
    best = max(make_trials(0.005), key=lambda trial: trial.value)
    assert f"Nothing reaches the target 0.99: the best is {best.value:.4g}" in answer.verdict
    assert f"trial {best.number}" in answer.verdict
