"""The recommendation: judged by the surrogate, not by luck; honest where there is no gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from widthwise.search.goal import Goal
from widthwise.search.report.recommendation import gain
from widthwise.search.report.recommendation.recommendation import Recommendation, recommend_among
from widthwise.search.report.verdict import Verdict
from widthwise.search.sampler.baselines import LARGEST_FEASIBLE
from widthwise.search.sampler.best_candidate import MAX_REFUSALS
from widthwise.search.sampler.history import TriedCandidate, TriedState, make_history
from widthwise.search.sampler.origin import SAMPLER, Origin
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.history import CompletedTrial
from widthwise.search.units import format_widths

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
    goal: Goal,
    trials: list[CompletedTrial],
    feasible: FeasibleSet | None = None,
    count_costs: Callable[[Mapping[str, int]], Mapping[str, float]] | None = None,
    baselines: Mapping[str, Mapping[str, int]] | None = None,
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
    return recommend_among(
        SPACE, goal, trials, history, feasible, count_costs=count_costs, baselines=baselines
    )


def quality(a: int, b: int) -> float:
    return 0.9 - 0.05 * ((np.log2(a) - 4.5) ** 2 + (np.log2(b) - 4.5) ** 2)


def plateau(a: int, b: int) -> float:
    """A quality that a narrow layer costs, and nothing beyond a width of 24."""
    return 0.9 - 0.08 * (max(0.0, np.log2(24 / a)) + max(0.0, np.log2(24 / b)))


def make_trials(
    noise: float, count: int = 24, flat: bool = False, seed: int = 0
) -> list[CompletedTrial]:
    rng = np.random.default_rng(seed)
    everything = SPACE.enumerate()
    rows = [[64, 64], *everything[rng.choice(len(everything) - 1, size=count, replace=False)]]
    return [
        make_trial(i, int(a), int(b), (0.8 if flat else quality(a, b)) + rng.normal(0, noise))
        for i, (a, b) in enumerate(rows)
    ]


def test_no_trial_no_recommendation() -> None:
    assert judge(Goal(), []) is None


def test_a_real_gain_is_found_and_put_in_figures() -> None:
    answer = judge(Goal(), make_trials(0.005), FeasibleSet(SPACE, Limits(), cost))
    assert answer is not None
    assert answer.verdict is Verdict.GAIN
    assert "largest that fits" in answer.verdict_text
    assert quality(**answer.recommended.widths) > 0.87
    assert answer.runner_up is not None
    assert answer.runner_up.widths != answer.recommended.widths


def test_luck_alone_is_no_gain() -> None:
    verdicts = []
    for seed in range(20):
        answer = judge(
            Goal(), make_trials(0.02, 40, flat=True, seed=seed), FeasibleSet(SPACE, Limits(), cost)
        )
        assert answer is not None
        verdicts.append(answer.verdict)
        if answer.verdict is Verdict.NO_GAIN:
            assert answer.recommended.widths == {"a": 64, "b": 64}
            assert answer.baselines["largest that fits"].widths == {"a": 64, "b": 64}
    assert verdicts.count(Verdict.GAIN) <= 1
    assert verdicts.count(Verdict.NO_GAIN) >= 10


def test_four_noisy_trials_are_undecided() -> None:
    undecided = 0
    for seed in range(20):
        answer = judge(Goal(), make_trials(0.05, 3, seed=seed), FeasibleSet(SPACE, Limits(), cost))
        assert answer is not None
        if answer.verdict is not Verdict.UNDECIDED:
            continue
        undecided += 1
        assert answer.more_trainings is not None
        assert answer.more_trainings >= len(answer.in_question) >= 2
        assert f"about {answer.more_trainings} more trainings" in answer.verdict_text
        assert answer.in_question[0].widths == answer.recommended.widths
    assert undecided >= 17


def test_fewer_than_four_trials_say_how_many_are_missing() -> None:
    answer = judge(Goal(), make_trials(0.05, 1))
    assert answer is not None
    assert (answer.verdict, answer.more_trainings) == (Verdict.UNDECIDED, 2)
    assert answer.recommended.trial is not None


def test_trials_that_learned_nothing_are_not_judged() -> None:
    useless = [
        replace(trial, no_better_than_constant=True, constant_score=0.99)
        for trial in make_trials(0.005)
    ]
    answer = judge(Goal(), useless)
    assert answer is not None
    assert answer.verdict is Verdict.NOT_TRAINED
    assert "constant prediction (0.99)" in answer.verdict_text


def test_the_recommended_may_be_untried_and_keeps_the_limits() -> None:
    feasible = FeasibleSet(SPACE, Limits(flops=4000), cost)
    counted = []

    def count_costs(widths: Mapping[str, int]) -> Mapping[str, float]:
        counted.append(dict(widths))
        return {"flops": 2 * widths["a"] * widths["b"] + 1}

    untried = 0
    for seed in range(10):
        some = [
            trial for trial in make_trials(0.005, 16, seed=seed) if trial.costs["flops"] <= 4000
        ]
        answer = judge(Goal(), some, feasible, count_costs)
        assert answer is not None
        taken = answer.recommended
        assert 2 * taken.widths["a"] * taken.widths["b"] <= 4000
        assert taken.estimate is not None
        assert taken.estimate.low < taken.estimate.mean < taken.estimate.high
        assert abs(taken.estimate.mean - quality(**taken.widths)) < 0.03
        tried = [dict(trial.widths) for trial in some]
        assert (taken.trial is not None) == (dict(taken.widths) in tried)
        if taken.trial is None:
            untried += 1
            assert dict(taken.widths) in counted
            assert taken.costs["flops"] == 2 * taken.widths["a"] * taken.widths["b"] + 1
            assert taken.to_json("accuracy")["trial"] is None
    assert untried


def test_why_it_is_not_the_best_observed_is_told_by_numbers() -> None:
    trials = make_trials(0.01, 24)
    poor = next(trial for trial in trials if quality(**trial.widths) < 0.8)
    lucky = [
        replace(trial, value=0.93) if trial.number == poor.number else trial for trial in trials
    ]
    answer = judge(Goal(), lucky, FeasibleSet(SPACE, Limits(), cost))
    assert answer is not None
    assert answer.best_observed.trial is not None
    assert answer.best_observed.trial.number == poor.number
    assert answer.recommended.widths != poor.widths
    assert answer.reason is not None
    assert f"trial {poor.number} was measured at 0.93" in answer.reason
    assert "luck" in answer.reason


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
    assert answer.verdict is Verdict.GAIN


def test_the_smallest_needs_confidence() -> None:
    goal = Goal(kind="smallest", target=0.8, cost="flops")
    answer = judge(goal, make_trials(0.005))
    assert answer is not None
    assert quality(**answer.recommended.widths) > 0.79
    assert answer.verdict is Verdict.SMALLEST_SUFFICIENT
    hopeless = Goal(kind="smallest", target=0.99, cost="flops")
    answer = judge(hopeless, make_trials(0.005))
    assert answer is not None
    best = max(make_trials(0.005), key=lambda trial: trial.value)
    assert answer.verdict is Verdict.TARGET_MISSED
    assert f"Nothing reaches the target 0.99: the best is {best.value:.4g}" in answer.verdict_text
    assert f"trial {best.number}" in answer.verdict_text


def test_the_smallest_without_a_target_is_as_good_as_the_best() -> None:
    """On a plateau above eight and eight, the smallest on it is found, or nearly."""
    feasible = FeasibleSet(SPACE, Limits(), cost)
    shares = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rows = [[64, 64], *SPACE.sample(39, rng).tolist()]
        trials = [
            make_trial(i, a, b, plateau(a, b) + rng.normal(0, 0.004))
            for i, (a, b) in enumerate(np.unique(rows, axis=0)[::-1].tolist())
        ]
        answer = judge(Goal(kind="smallest", cost="flops"), trials, feasible)
        assert answer is not None
        taken = answer.recommended
        assert plateau(**taken.widths) > 0.9 - 0.03
        shares.append(taken.widths["a"] * taken.widths["b"] / 64**2)
        assert answer.verdict in (Verdict.SMALLEST_SUFFICIENT, Verdict.UNDECIDED)
    assert np.median(shares) < 0.5


def test_a_front_rises_in_cost_and_quality_and_has_a_knee() -> None:
    feasible = FeasibleSet(SPACE, Limits(), cost)
    trials = [
        make_trial(i, int(a), int(b), plateau(a, b)) for i, (a, b) in enumerate(SPACE.enumerate())
    ]
    answer = judge(Goal(kind="front", cost="flops"), trials[::3], feasible)
    assert answer is not None
    costs = [candidate.costs["flops"] for candidate in answer.front]
    assert costs == sorted(costs)
    assert len(costs) > 2
    assert answer.knee is not None
    assert answer.knee.label == "knee of the front"
    assert dict(answer.knee.widths) in [dict(candidate.widths) for candidate in answer.front]
    assert plateau(**answer.knee.widths) > 0.78
    assert answer.knee.costs["flops"] < 0.5 * costs[-1]
    assert answer.to_json("accuracy")["knee"]["widths"] == dict(answer.knee.widths)


def test_todays_model_stands_among_the_baselines_whatever_it_costs() -> None:
    feasible = FeasibleSet(SPACE, Limits(flops=4000), cost)
    some = [trial for trial in make_trials(0.005, 16) if trial.costs["flops"] <= 4000]
    answer = judge(Goal(), some, feasible, baselines={"today": {"a": 100, "b": 90}})
    assert answer is not None
    today = answer.baselines["today"]
    assert (today.trial, dict(today.widths)) == (None, {"a": 100, "b": 90})
    assert today.estimate is not None
    assert "today" not in answer.verdict_text


def test_a_trial_that_fell_far_behind_has_no_estimate() -> None:
    """The surrogate raises it to a floor: what it would say of it is far too good."""
    trials = make_trials(0.005, 24)
    trials[5] = replace(trials[5], value=0.1)
    answer = judge(Goal(), trials, FeasibleSet(SPACE, Limits(), cost))
    assert answer is not None
    assert 5 not in answer.estimates
    assert len(answer.estimates) == len(trials) - 1


def test_differences_are_told_as_gains_whichever_way_the_metric_runs() -> None:
    """A lower loss is a gain: plus is better."""
    losses = [0.84, 0.83, 0.76, 0.84, 0.78, 0.79]
    widths = [(64, 64), (32, 32), (24, 32), (32, 48), (40, 32), (24, 24)]
    trials = [
        make_trial(number, a, b, loss)
        for number, ((a, b), loss) in enumerate(zip(widths, losses, strict=True))
    ]
    found = judge(Goal(direction="minimize"), trials)
    assert found is not None
    assert found.verdict is Verdict.UNDECIDED
    assert "its gain is believed to be +0.0" in found.verdict_text


def test_a_baseline_that_was_never_trained_has_no_costs_where_the_model_is_not_here() -> None:
    trials = make_trials(0.005, 16)
    tried = [dict(trial.widths) for trial in trials]
    untried = [SPACE.as_mapping(row) for row in SPACE.enumerate()]
    baselines = {str(i): widths for i, widths in enumerate(untried) if dict(widths) not in tried}
    answer = judge(Goal(), trials, baselines=baselines)
    assert answer is not None
    assert all(not answer.baselines[name].costs for name in baselines)
    assert answer.baselines["largest that fits"].costs == {"flops": 2 * 64**2}


def test_a_baseline_that_is_best_is_judged_against_what_was_searched() -> None:
    """The next best may be another baseline: to tell it from the first says nothing of a search."""
    feasible = FeasibleSet(SPACE, Limits(), cost)
    trials = make_trials(0.005)
    free = judge(Goal(), trials, feasible)
    assert free is not None
    assert free.runner_up is not None
    first, second = free.recommended.widths, free.runner_up.widths
    answer = judge(Goal(), trials, feasible, baselines={"first": first, "second": second})
    assert answer is not None
    assert (answer.verdict, answer.recommended.widths) == (Verdict.NO_GAIN, first)
    assert answer.runner_up is not None
    assert answer.runner_up.widths not in (first, second)
    assert f"no baseline, {format_widths(answer.runner_up.widths)}," in answer.verdict_text


def test_where_all_are_baselines_the_best_of_them_is_no_gain() -> None:
    everything = {str(i): SPACE.as_mapping(row) for i, row in enumerate(SPACE.enumerate())}
    answer = judge(
        Goal(), make_trials(0.005), FeasibleSet(SPACE, Limits(), cost), baselines=everything
    )
    assert answer is not None
    assert answer.verdict is Verdict.NO_GAIN
    assert answer.verdict_text.endswith("neither its twin nor a baseline.")


def test_a_gain_recommends_what_it_praises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a baseline has the best lower end, since it is known better."""
    feasible = FeasibleSet(SPACE, Limits(), cost)
    trials = make_trials(0.005)
    free = judge(Goal(), trials, feasible)
    assert free is not None
    monkeypatch.setattr(gain, "judge_gain", lambda _difference: Verdict.GAIN)
    answer = judge(Goal(), trials, feasible, baselines={"today": free.recommended.widths})
    assert answer is not None
    praised = format_widths(answer.recommended.widths)
    assert answer.verdict_text.startswith(
        f"A gain: {praised} is believed to be better than “today”"
    )
    assert answer.runner_up is not None
    assert answer.runner_up.widths == free.recommended.widths


LARGE = Space((Width.range("a", 8, 512, step=8), Width.range("b", 8, 512, step=8)))


def judge_refused(goal: Goal, noise: float, seed: int) -> tuple[Recommendation, int]:
    """Recommend where every untried candidate breaks a limit by its own costs, and count them."""
    asked = []

    def admits(row: np.ndarray) -> bool:
        asked.append(row)
        return False

    rng = np.random.default_rng(seed)
    rows = np.unique(rng.integers(1, 20, (16, 2)) * 8, axis=0)
    trials = [
        make_trial(i, int(a), int(b), np.log2(a * b) / 20 + rng.normal(0, noise))
        for i, (a, b) in enumerate(rows)
    ]
    tried = [
        TriedCandidate(
            row=LARGE.as_row(trial.widths), state=TriedState.COMPLETE, scores=[(1.0, trial.value)]
        )
        for trial in trials
    ]
    feasible = FeasibleSet(LARGE, Limits(), cost, admits=admits)
    answer = recommend_among(LARGE, goal, trials, make_history(tried, LARGE), feasible)
    assert answer is not None
    return answer, len(asked)


@pytest.mark.parametrize("kind", ["best", "smallest", "front"])
def test_untried_candidates_are_counted_up_to_a_bound(kind: str) -> None:
    """Each takes a trace of the model: best, runner-up and front, in turn, stop asking."""
    goal = Goal(kind=kind, cost="" if kind == "best" else "flops")
    for seed in range(5):
        answer, asked = judge_refused(goal, 0.1, seed)
        assert asked <= 3 * MAX_REFUSALS
        assert answer.recommended.trial is not None
        assert bool(answer.front) == (kind == "front")
        assert all(candidate.trial is not None for candidate in answer.front)


def test_the_smallest_is_undecided_where_no_best_keeps_the_limits() -> None:
    answer, _ = judge_refused(Goal(kind="smallest", cost="flops"), 0.1, 0)
    taken = answer.recommended
    assert answer.verdict is Verdict.UNDECIDED
    assert f"no best is known to compare {format_widths(taken.widths)} with" in answer.verdict_text
    assert taken.trial is not None
