"""Verdicts on planted studies, whose truth is known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from widthwise.search.goal import Goal, GoalKind, MetricDirection
from widthwise.search.report.confirmation.confirmation import Confirmation
from widthwise.search.report.confirmation.confirmed_run import ConfirmedRun
from widthwise.search.report.confirmation.contender import Contender
from widthwise.search.report.confirmation.judgement import judge_confirmation
from widthwise.search.report.confirmation.race import next_trainings
from widthwise.search.report.reference import Reference
from widthwise.search.report.verdict import Verdict
from widthwise.tests.search.report.confirmation.confirmation_inputs import (
    BEST,
    FIELD,
    LARGEST,
    RECOMMENDED,
    RULE,
    RUNNER_UP,
    UNIFORM,
    contender,
    evidence,
    training,
)

NOISE = 0.006
"""Standard deviation of one training."""


def race(
    field: Sequence[Contender],
    truth: Mapping[str, float],
    seed: int,
    *,
    goal: Goal = BEST,
    noise: float = NOISE,
    shared: float = NOISE,
    test_truth: Mapping[str, float] | None = None,
    **others: Any,
) -> list[ConfirmedRun]:
    """Train by a simulation until the race is over: truth + luck of the seed + luck of its own."""
    rng = np.random.default_rng(seed)
    luck = rng.normal(0.0, shared, size=64)
    runs: list[ConfirmedRun] = []
    for _ in range(20):
        wanted = next_trainings(field, runs, goal)
        if not wanted:
            return runs
        for item, index in wanted:
            value = truth[item.label] + luck[index] + rng.normal(0.0, noise)
            extra = dict(others)
            if test_truth is not None:
                extra["test"] = test_truth[item.label] + luck[index] + rng.normal(0.0, noise)
            runs.append(training(item, index, float(value), **extra))
    raise AssertionError("the race did not end")


def level(value: float = 0.9, **others: float) -> dict[str, float]:
    return {**{item.label: value for item in FIELD}, **others}


def verdicts(run: Callable[[int], Confirmation], count: int = 20) -> list[Verdict]:
    return [run(seed).verdict for seed in range(count)]


def test_no_gain_is_found_where_there_is_none():
    def judge(seed: int) -> Confirmation:
        return judge_confirmation(FIELD, race(FIELD, level(), seed), evidence())

    assert verdicts(judge).count(Verdict.NO_GAIN) >= 19


def test_a_gain_of_twice_the_noise_is_found():
    truth = level(recommended=0.9 + 2.0 * NOISE)

    def judge(seed: int) -> Confirmation:
        return judge_confirmation(FIELD, race(FIELD, truth, seed), evidence())

    assert verdicts(judge).count(Verdict.GAIN) >= 18


def test_a_gain_is_told_in_points_at_a_share_of_the_flops():
    truth = level(recommended=0.95)
    runs = race(FIELD, truth, 0)
    answer = judge_confirmation(FIELD, runs, evidence())
    assert answer.verdict is Verdict.GAIN
    assert answer.chosen == RECOMMENDED
    assert answer.verdict_text.startswith("Better than the largest that fits by ")
    assert " points of accuracy at 40 % of its FLOPs" in answer.verdict_text
    assert "hidden=40" in answer.verdict_text


def test_a_gain_of_a_minimised_metric_has_the_right_sign():
    goal = Goal(kind=GoalKind.BEST, direction=MetricDirection.MINIMIZE)
    truth = level(2.0, recommended=1.5)
    answer = judge_confirmation(
        FIELD, race(FIELD, truth, 0, goal=goal), evidence(goal, metric="rmse")
    )
    assert answer.verdict is Verdict.GAIN
    assert "by 0.50" in answer.verdict_text
    assert "points" not in answer.verdict_text
    [against_largest] = [c for c in answer.to_json()["comparisons"] if c["with"] == LARGEST.label]
    assert against_largest["difference"] == pytest.approx(-0.5, abs=0.02)
    assert against_largest["low"] < against_largest["difference"] < against_largest["high"] < 0


def test_where_the_recommended_is_the_largest_it_is_taken_and_trained_once():
    both = contender("recommended", 100, "largest that fits")
    field = [both, RUNNER_UP, UNIFORM, RULE]
    runs = race(field, level(), 1)
    answer = judge_confirmation(field, runs, evidence())
    assert answer.verdict is Verdict.NO_GAIN
    assert answer.chosen == both
    assert "take the largest that fits" in answer.verdict_text
    assert sum(run.key == both.key and run.seed_index == 0 for run in runs) == 1
    assert not answer.saved


def test_the_smallest_that_meets_the_target():
    goal = Goal(kind=GoalKind.SMALLEST, target=0.9, cost="parameters")
    truth = {
        "recommended": 0.915,
        "runner-up": 0.92,
        "largest that fits": 0.92,
        "uniform scaling": 0.92,
        "rule of thumb": 0.88,
    }

    def judge(seed: int) -> Confirmation:
        return judge_confirmation(FIELD, race(FIELD, truth, seed, goal=goal), evidence(goal))

    assert verdicts(judge).count(Verdict.SMALLEST_SUFFICIENT) >= 18
    answer = judge(0)
    assert answer.chosen == RECOMMENDED
    assert "meets the target 0.9" in answer.verdict_text
    assert "40 % of the parameters of the largest that fits" in answer.verdict_text


def test_the_smallest_that_is_as_good_without_a_target():
    goal = Goal(kind=GoalKind.SMALLEST, cost="parameters")
    truth = level(**{"rule of thumb": 0.85})

    def judge(seed: int) -> Confirmation:
        runs = race(FIELD, truth, seed, goal=goal, noise=NOISE / 2, shared=NOISE)
        return judge_confirmation(FIELD, runs, evidence(goal))

    answers = [judge(seed) for seed in range(20)]
    right = [
        answer.verdict is Verdict.SMALLEST_SUFFICIENT and answer.chosen == RECOMMENDED
        for answer in answers
    ]
    assert sum(right) >= 18
    assert all(answer.chosen != RULE for answer in answers)
    assert "as good" in answers[right.index(True)].verdict_text


def test_a_target_out_of_reach():
    goal = Goal(kind=GoalKind.SMALLEST, target=0.99, cost="parameters")

    def judge(seed: int) -> Confirmation:
        return judge_confirmation(FIELD, race(FIELD, level(), seed, goal=goal), evidence(goal))

    assert verdicts(judge).count(Verdict.TARGET_MISSED) == 20


def test_networks_that_learnt_nothing():
    def judge(seed: int) -> Confirmation:
        runs = race(FIELD, level(0.7), seed, noise=0.002, constant_score=0.715)
        return judge_confirmation(FIELD, runs, evidence())

    assert verdicts(judge).count(Verdict.NOT_TRAINED) == 20
    assert "constant prediction" in judge(0).verdict_text


def test_a_weak_signal_is_not_taken_for_none():
    def judge(seed: int) -> Confirmation:
        runs = race(FIELD, level(0.7 + 2 * NOISE), seed, constant_score=0.7, shared=0.0)
        return judge_confirmation(FIELD, runs, evidence())

    assert Verdict.NOT_TRAINED not in verdicts(judge)


def test_a_race_that_goes_on_is_undecided():
    answer = judge_confirmation(FIELD, [training(RECOMMENDED, 0, 0.9)], evidence())
    assert answer.verdict is Verdict.UNDECIDED
    assert not answer.complete
    assert "24 trainings" in answer.verdict_text


def test_without_any_training_it_is_undecided():
    answer = judge_confirmation(FIELD, [], evidence())
    assert answer.verdict is Verdict.UNDECIDED
    assert answer.chosen is None
    assert answer.to_json()["chosen"] is None


def test_failed_trainings_are_told_and_not_asked_for_again():
    truth = level(recommended=0.95)
    runs = race(FIELD, truth, 0)
    runs = [training(RULE, run.seed_index, None) if run.key == RULE.key else run for run in runs]
    answer = judge_confirmation(FIELD, runs, evidence())
    assert answer.complete
    assert answer.verdict is Verdict.GAIN
    [row] = [result for result in answer.results if result.contender == RULE]
    assert row.metric is None
    assert row.failed >= 5
    assert answer.trainings == sum(run.value is not None for run in runs) < len(runs)


def test_a_baseline_that_no_seed_compares_with_is_not_beaten():
    """The challenger has failed with all seeds that the largest has a metric with."""
    rng, runs = np.random.default_rng(0), []
    for item in FIELD:
        for index in range(10):
            is_even = index % 2 == 0
            is_failed = (item == RECOMMENDED and is_even) or (item == LARGEST and not is_even)
            value = (0.95 if item == RECOMMENDED else 0.9) + rng.normal(0.0, 0.002)
            runs.append(training(item, index, None if is_failed else float(value)))
    answer = judge_confirmation(FIELD, runs, evidence())
    assert answer.complete
    assert answer.verdict is Verdict.NO_GAIN
    assert answer.chosen == LARGEST


def test_the_test_split_is_heard_where_it_says_the_opposite():
    truth = level(recommended=0.95)
    test_truth = level(0.9, recommended=0.8)
    runs = race(FIELD, truth, 0, test_truth=test_truth)
    answer = judge_confirmation(FIELD, runs, evidence())
    assert answer.verdict is Verdict.GAIN
    assert any("test split says the opposite" in line for line in answer.sentences())


def test_the_test_split_is_not_mentioned_where_it_agrees():
    truth = level(recommended=0.95)
    runs = race(FIELD, truth, 0, test_truth=truth)
    answer = judge_confirmation(FIELD, runs, evidence())
    assert not any("opposite" in line for line in answer.sentences())


@pytest.mark.parametrize(("trees", "named"), [(0.99, True), (0.949, False)])
def test_trees_are_named_where_they_are_better(trees: float, named: bool):
    references = [
        Reference(name="constant", value=0.5, test=None),
        Reference(name="trees", value=trees, test=None),
    ]
    runs = race(FIELD, level(recommended=0.95), 0)
    answer = judge_confirmation(FIELD, runs, evidence(references=references))
    assert any("boosted trees" in line for line in answer.sentences()) == named


@pytest.mark.parametrize(("scores", "named"), [((0.9, 1.0), False), ((1.0, 0.9), True)])
def test_other_models_are_compared_on_the_folds_of_the_confirmation(
    scores: tuple[float, float], named: bool
):
    """They are judged on two draws of the folds, a long training on the first of them alone."""
    linear = Reference(name="linear", value=0.85, test=None, scores=[0.85] * 4)
    low, high = scores
    trees = Reference(name="trees", value=0.95, test=None, scores=[low, low, high, high])
    runs = race(FIELD, level(0.9, recommended=0.95), 0, folds=2)
    answer = judge_confirmation(FIELD, runs, evidence(references=[linear, trees]))
    assert answer.chosen == RECOMMENDED
    sentences = [line for line in answer.sentences() if "boosted trees" in line]
    assert bool(sentences) == named
    assert all("accuracy 1," in line for line in sentences)


@pytest.mark.parametrize(("constant", "said"), [(0.99, True), (0.5, False)])
def test_what_is_no_better_than_a_constant_on_the_test_split_is_said(constant: float, said: bool):
    truth = level(recommended=0.95)
    references = [Reference(name="constant", value=0.5, test=constant)]
    runs = race(FIELD, truth, 0, test_truth=truth)
    answer = judge_confirmation(FIELD, runs, evidence(references=references))
    assert any("On the test split" in line for line in answer.sentences()) == said


def test_savings_are_told_against_the_largest_that_fits():
    runs = race(FIELD, level(recommended=0.95), 0)
    runs = [
        training(item, run.seed_index, run.value, seconds=4.0 if item == LARGEST else 1.0)
        for run in runs
        for item in FIELD
        if item.key == run.key
    ]
    saved = judge_confirmation(FIELD, runs, evidence()).to_json()["saved"]
    assert saved["flops"]["share"] == pytest.approx(0.4)
    assert saved["training_seconds"]["share"] == pytest.approx(0.25)
    assert saved["inference_joules"]["largest"] == pytest.approx(1e6 * 10_000 * 2.05e-11)


def test_where_nothing_is_gained_the_recommended_baseline_is_taken():
    both = contender("recommended", 80, "uniform scaling")
    field = [both, RUNNER_UP, LARGEST, RULE]
    answer = judge_confirmation(field, race(field, level(), 1), evidence())
    assert answer.verdict is Verdict.NO_GAIN
    assert answer.chosen == both
    assert "take the uniform scaling" in answer.verdict_text


def test_what_is_as_good_for_less_is_named_with_what_it_saves():
    # Level, and told apart well: as good for 40 % of the largest one's cost.
    runs = race(FIELD, level(), 3, noise=NOISE / 4, shared=NOISE)
    answer = judge_confirmation(FIELD, runs, evidence())
    assert answer.verdict is Verdict.NO_GAIN
    assert answer.saver == RECOMMENDED
    assert "As good, to within one standard deviation between seeds" in answer.verdict_text
    assert answer.to_json()["saved_by"] == "recommended"
    assert any("The search's pick against" in line for line in answer.sentences())


def test_energy_is_told_by_the_rate_that_is_stated():
    runs = race(FIELD, level(recommended=0.95), 0)
    by_default = judge_confirmation(FIELD, runs, evidence()).to_json()
    stated = judge_confirmation(FIELD, runs, evidence(), joules_per_flop=1e-12).to_json()
    assert by_default["joules_per_flop"] == 2.05e-11
    assert stated["joules_per_flop"] == 1e-12
    here, there = (
        figures["saved"]["inference_joules"]["largest"] for figures in (by_default, stated)
    )
    assert there == pytest.approx(here * 1e-12 / 2.05e-11)
