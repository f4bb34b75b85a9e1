"""Decisions by simulation: what is called sure is, and so many trainings do decide."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from widthwise.search.report.recommendation.decision import (
    judge_gain,
    trainings_each,
    trainings_to_settle,
)
from widthwise.search.report.verdict import Verdict
from widthwise.search.surrogate.difference import DifferencePosterior


def difference(mean: float, scale: float, noise: float = 1.0) -> DifferencePosterior:
    return DifferencePosterior(
        weights=np.ones(1),
        locations=np.array([mean]),
        scales=np.array([scale]),
        noise=np.array([noise]),
        degrees=1e6,
    )


@pytest.mark.parametrize(
    ("mean", "scale", "verdict"),
    [
        pytest.param(2.0, 1.0, Verdict.GAIN, id="two standard errors above"),
        pytest.param(1.6, 1.0, Verdict.UNDECIDED, id="a little less"),
        pytest.param(0.01, 0.001, Verdict.GAIN, id="small and sure"),
        pytest.param(0.0, 0.3, Verdict.NO_GAIN, id="nothing, and known well"),
        pytest.param(0.0, 1.0, Verdict.UNDECIDED, id="nothing, and known badly"),
        pytest.param(-2.0, 1.0, Verdict.NO_GAIN, id="worse"),
        pytest.param(0.4, 0.3, Verdict.UNDECIDED, id="more than one standard error, within noise"),
    ],
)
def test_three_answers(mean: float, scale: float, verdict: Verdict) -> None:
    assert judge_gain(difference(mean, scale)) is verdict


@pytest.mark.parametrize("mean", [-3.0, -0.5, 0.0, 0.2, 0.4, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("deviation", [0.5, 1.0, 5.0])
def test_so_many_trainings_decide_and_one_less_does_not(mean: float, deviation: float) -> None:
    each = trainings_each(mean, deviation, 1.0)
    assert 1 <= each <= 38

    def error(count: int) -> float:
        """Standard error after so many of each, by a normal prior updated one pair at a time."""
        precision = 1.0 / deviation**2
        for _ in range(count):
            precision += 1.0 / 2.0
        return float(precision**-0.5)

    def is_decided(count: int) -> bool:
        posterior = stats.norm(mean, error(count))
        better, within_noise = posterior.sf(0.0), posterior.cdf(1.0)
        is_no_gain = within_noise >= 0.95 - 1e-4 and better < 0.8413
        return bool(better >= 0.95 - 1e-4 or is_no_gain)

    assert is_decided(each)
    assert each == 1 or not is_decided(each - 1)


def test_the_worked_example() -> None:
    assert trainings_each(0.0, 1.0, 1.0) == 4
    assert trainings_each(0.5, 1e9, 1.0) == 22
    assert trainings_each(1.0, 1.0, 0.0) == 1


@pytest.mark.parametrize("margin", [0.6, -1.0, 2.0])
def test_a_target_is_settled_by_so_many(margin: float) -> None:
    count = trainings_to_settle(margin, 2.0, 1.0)
    error = (1.0 / 4.0 + count) ** -0.5
    assert stats.norm.cdf(abs(margin) / error) >= 0.9 - 1e-4
    assert trainings_to_settle(0.0, 2.0, 1.0) <= 7
    assert trainings_to_settle(0.0, 2.0, 0.0) == 1
