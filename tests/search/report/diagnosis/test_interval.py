"""An effect is told with the digits that its interval deserves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from widthwise.search.goal import Goal, MetricDirection
from widthwise.search.report.diagnosis.interval import Effect, effect_of, format_amount, gain_unit


def test_its_interval_is_that_of_the_draws() -> None:
    draws = np.random.default_rng(0).normal(0.3, 0.1, 100_000)
    effect = effect_of(draws)
    assert effect.mean == pytest.approx(0.3, abs=0.002)
    assert effect.low == pytest.approx(norm.ppf(0.05, 0.3, 0.1), abs=0.003)
    assert effect.high == pytest.approx(norm.ppf(0.95, 0.3, 0.1), abs=0.003)
    assert effect.probability_positive == pytest.approx(norm.cdf(3), abs=0.001)
    assert effect.is_gain
    assert not effect_of(draws - 0.2).is_gain


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((0.00421, 0.0011, 0.0073), "+0.0042 (0.0011 to 0.0073)"),
        ((-12.4, -30.0, 5.0), "-12 (-30 to 5)"),
        ((0.0, 0.0, 0.0), "+0 (0 to 0)"),
        ((0.25, 0.25, 0.25), "+0.25 (0.25 to 0.25)"),
    ],
)
def test_people_read_two_digits_of_the_spread(
    figures: tuple[float, float, float], text: str
) -> None:
    mean, low, high = figures
    assert str(Effect(mean=mean, low=low, high=high, probability_positive=0.5)) == text


@pytest.mark.parametrize(("value", "text"), [(0.0024567, "0.00246"), (1234.5, "1234"), (0.0, "0")])
def test_amounts_have_three_digits(value: float, text: str) -> None:
    assert format_amount(value) == text


def test_a_gain_of_a_metric_that_falls_says_so() -> None:
    falling = Goal(direction=MetricDirection.MINIMIZE)
    assert gain_unit("rmse", falling) == "rmse (a gain: it falls)"
    assert gain_unit("accuracy", Goal()) == "accuracy"
