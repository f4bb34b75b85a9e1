"""Estimates: intervals that hold as often as they say, and least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from widthwise.objectives.growth.estimates import mean_interval, solve_ridge


def test_the_interval_is_scipys() -> None:
    values = [1.0, 2.5, 3.0, 7.0]
    found = mean_interval(values)
    expected = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)


def test_it_holds_the_truth_nine_times_in_ten() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.normal(2, 3, size=10)) for _ in range(2000)]
    covered = np.mean([interval.low <= 2 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.9, abs=0.03)


def test_a_single_part_decides_nothing() -> None:
    assert mean_interval([0.5]).low == 0


def test_least_squares_are_numpys_where_columns_are_independent() -> None:
    rng = np.random.default_rng(0)
    columns, targets = rng.normal(size=(300, 5)), rng.normal(size=(300, 2))
    expected = np.linalg.lstsq(columns, targets, rcond=None)[0]
    found = solve_ridge(torch.from_numpy(columns), torch.from_numpy(targets))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_collinear_columns_are_no_failure() -> None:
    column = torch.randn(100, 1)
    columns = torch.cat([column, column], dim=1)
    found = solve_ridge(columns, 2 * column)
    torch.testing.assert_close(columns @ found, 2 * column, atol=1e-2, rtol=1e-2)
