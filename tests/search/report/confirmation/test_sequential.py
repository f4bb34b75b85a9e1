"""Intervals that hold at every look, against simulated races and scipy's t."""

import math

import numpy as np
import pytest
from scipy import stats
from widthwise.search.report.confirmation.sequential import (
    critical_value,
    looks,
    repeated_interval,
)


@pytest.mark.parametrize(
    ("first", "most", "expected"),
    [(5, 10, [5, 7, 10]), (3, 10, [3, 5, 7, 10]), (5, 5, [5]), (8, 4, [4]), (1, 3, [1, 2, 3])],
)
def test_looks_grow_to_the_most(first: int, most: int, expected: list[int]):
    assert looks(first, most) == expected


@pytest.mark.parametrize("error", [0.05, 0.1])
@pytest.mark.parametrize(("first", "most"), [(5, 10), (3, 10), (5, 20)])
def test_the_truth_is_missed_as_often_as_stated_whenever_one_stops(
    first: int, most: int, error: float
):
    """By scipy's t statistic on other random numbers than the boundary was found with."""
    values = np.random.default_rng(12345).standard_normal((40_000, most))
    missed = np.zeros(len(values), dtype=bool)
    for count in looks(first, most):
        statistic = stats.ttest_1samp(values[:, :count], 0.0, axis=1).statistic
        missed |= np.abs(statistic) > critical_value(count, first=first, most=most, error=error)
    # Four standard errors of the simulated share.
    slack = 4 * math.sqrt(error * (1 - error) / len(values))
    assert abs(missed.mean() - error) < slack


def test_a_single_look_is_the_ordinary_t_interval():
    values = [0.3, 0.1, 0.4, 0.2, 0.5]
    ours = repeated_interval(values, first=5, most=5, error=0.05)
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_fewer_values_than_at_the_first_look_ask_for_more():
    assert critical_value(3, first=5, most=10, error=0.05) > critical_value(
        5, first=5, most=10, error=0.05
    )


def test_between_two_looks_the_earlier_boundary_holds():
    at = {n: critical_value(n, first=5, most=10, error=0.05) for n in (5, 6, 7, 9, 10, 12)}
    assert at[6] == at[5]
    assert at[9] == at[7]
    assert at[12] == at[10]
    assert at[5] > at[7] > at[10]


def test_of_one_value_nothing_is_known():
    interval = repeated_interval([0.4], first=5, most=10, error=0.05)
    assert interval.mean == 0.4
    assert interval.low == -math.inf


@pytest.mark.parametrize(("count", "told"), [(5, False), (7, True), (10, True)])
def test_differences_that_are_all_the_same_speak_by_their_sign(count: int, told: bool):
    interval = repeated_interval([0.01] * count, first=5, most=10, error=0.05, threshold=0.0)
    assert (interval.low > 0) == told


def test_no_difference_at_all_is_none():
    interval = repeated_interval([0.0] * 10, first=5, most=10, error=0.05, threshold=0.0)
    assert interval.low == interval.high == 0.0


@pytest.mark.parametrize(
    ("threshold", "low", "high"),
    [
        pytest.param(None, 0.98, 0.98, id="judged against nothing"),
        pytest.param(0.98, 0.98, 0.98, id="exactly on it"),
        pytest.param(0.95, 0.95, 1.01, id="above it at five seeds: not yet told from it"),
    ],
)
def test_a_metric_that_no_seed_moves(threshold: float | None, low: float, high: float):
    interval = repeated_interval([0.98] * 5, first=5, most=10, error=0.1, threshold=threshold)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)
