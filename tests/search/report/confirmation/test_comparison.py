"""Paired comparisons: what differs, by how much, and whether more seeds would tell."""

import numpy as np
import pytest
from scipy import stats
from widthwise.search.goal import Goal, GoalKind, MetricDirection
from widthwise.search.report.confirmation.comparison import ConfirmedValues, RaceRules, compare
from widthwise.tests.search.report.confirmation.confirmation_inputs import (
    BEST,
    LARGEST,
    RECOMMENDED,
    RULE,
    RUNNER_UP,
    UNIFORM,
    trainings,
)

ONCE = RaceRules(first_seeds=5, most_seeds=5)


def values(ours: list[float | None], theirs: list[float | None], goal: Goal = BEST, **rules: int):
    runs = trainings(RECOMMENDED, ours) + trainings(LARGEST, theirs)
    return ConfirmedValues.from_runs(runs, goal, RaceRules(**rules) if rules else ONCE)


def test_a_single_look_is_scipys_paired_t_test():
    ours, theirs = [0.91, 0.93, 0.90, 0.95, 0.92], [0.90, 0.90, 0.89, 0.93, 0.92]
    comparison = compare(values(ours, theirs), RECOMMENDED, LARGEST)
    assert comparison is not None
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert comparison.difference.low == pytest.approx(expected.low)
    assert comparison.difference.high == pytest.approx(expected.high)


def test_only_seeds_of_both_count():
    comparison = compare(values([0.9, None, 0.8], [0.7, 0.7, None]), RECOMMENDED, LARGEST)
    assert comparison is not None
    assert comparison.difference.count == 1
    assert compare(values([0.9], [None]), RECOMMENDED, LARGEST) is None


def test_less_is_better_of_a_minimised_metric():
    goal = Goal(kind=GoalKind.BEST, direction=MetricDirection.MINIMIZE)
    ours, theirs = [1.0, 1.1, 1.2, 1.0, 1.1], [2.0, 2.2, 2.1, 2.0, 2.2]
    comparison = compare(values(ours, theirs, goal), RECOMMENDED, LARGEST)
    assert comparison is not None
    assert comparison.is_gain
    stored = comparison.to_json(goal.sign)
    assert stored["difference"] == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert stored["low"] < stored["difference"] < stored["high"] < 0


def test_the_deviation_between_seeds_is_pooled():
    ours, theirs = [0.9, 0.92, 0.94], [0.8, 0.80, 0.83]
    pooled = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / 2)
    measured = values(ours, theirs)
    assert measured.seed_deviation() == pytest.approx(pooled)
    assert measured.freedom == 4
    margin = measured.margin()
    assert margin.size == pytest.approx(pooled)
    assert margin.error == pytest.approx(pooled / np.sqrt(8))


def test_a_contender_that_collapses_does_not_widen_as_good_for_all():
    rng = np.random.default_rng(0)
    sizes = []
    for _ in range(400):
        runs = trainings(RECOMMENDED, list(rng.normal(0.9, 0.01, 5)))
        runs += trainings(LARGEST, list(rng.normal(0.9, 0.01, 5)))
        runs += trainings(RUNNER_UP, list(rng.normal(0.9, 0.01, 5)))
        runs += trainings(RULE, list(rng.normal(0.7, 0.2, 5)))
        sizes.append(ConfirmedValues.from_runs(runs, BEST, ONCE).margin().size)
    assert 0.008 < np.median(sizes) < 0.015


def test_the_median_of_like_contenders_is_their_deviation():
    rng = np.random.default_rng(1)
    squares, errors = [], []
    for _ in range(2000):
        runs = [
            run
            for contender in (RECOMMENDED, LARGEST, RUNNER_UP, RULE, UNIFORM)
            for run in trainings(contender, list(rng.normal(0.9, 0.01, 5)))
        ]
        margin = ConfirmedValues.from_runs(runs, BEST, ONCE).margin()
        squares.append(margin.size)
        errors.append(margin.error)
    assert np.mean(squares) == pytest.approx(0.01, rel=0.05)
    assert np.std(squares) == pytest.approx(np.mean(errors), rel=0.2)


def test_of_one_seed_no_deviation_is_known():
    assert values([0.9], [0.8]).seed_deviation() is None


def test_more_seeds_are_of_no_use_where_the_gain_is_far_from_enough():
    ours, theirs = [0.900, 0.95, 0.90, 0.93, 0.92], [0.91, 0.93, 0.92, 0.91, 0.93]
    comparison = compare(values(ours, theirs, first_seeds=5, most_seeds=10), RECOMMENDED, LARGEST)
    assert comparison is not None
    assert comparison.is_hopeless


def test_more_seeds_are_of_use_where_the_gain_is_nearly_enough():
    ours, theirs = [0.93, 0.94, 0.93, 0.95, 0.92], [0.92, 0.91, 0.92, 0.93, 0.92]
    comparison = compare(values(ours, theirs, first_seeds=5, most_seeds=10), RECOMMENDED, LARGEST)
    assert comparison is not None
    assert not comparison.is_gain
    assert not comparison.is_hopeless
