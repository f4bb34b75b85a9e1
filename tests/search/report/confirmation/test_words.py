"""Numbers as people tell them."""

import math

import pytest
from widthwise.search.report.confirmation.sequential import MeanInterval
from widthwise.search.report.confirmation.words import MetricWords, share_of_cost

ACCURACY = MetricWords(name="accuracy", sign=1.0)
ERROR = MetricWords(name="rmse", sign=-1.0)


def difference(mean: float, half_width: float) -> MeanInterval:
    return MeanInterval(mean=mean, half_width=half_width, error=half_width / 3, count=5)


@pytest.mark.parametrize(
    ("words", "size", "half_width", "text"),
    [
        (ACCURACY, 0.008, 0.003, "0.8 ± 0.3 points"),
        (ACCURACY, 0.0214, 0.0123, "2.1 ± 1.2 points"),
        (ACCURACY, 0.12, 0.05, "12 ± 5 points"),
        (ACCURACY, 0.008, math.inf, "0.8 points"),
        (ERROR, 12.3, 4.0, "12 ± 4"),
        (ERROR, 0.0123, 0.0019, "0.0123 ± 0.0019"),
    ],
)
def test_shares_are_told_in_points_and_all_else_in_its_unit(
    words: MetricWords, size: float, half_width: float, text: str
):
    assert words.amount(size, half_width) == text


def test_a_difference_has_the_metrics_own_sign():
    assert ACCURACY.signed(difference(0.008, 0.003)) == "+0.8 ± 0.3 points"
    assert ERROR.signed(difference(0.5, 0.2)) == "-0.5 ± 0.2"


def test_a_value_has_its_name():
    assert ACCURACY.value(0.9753, 0.003) == "accuracy 0.975 ± 0.003"
    assert ERROR.value(-2.5) == "rmse 2.5"


@pytest.mark.parametrize(
    ("cost", "share"), [(41.0, "41 % of the FLOPs"), (0.5, "0.5 % of the FLOPs")]
)
def test_shares_of_a_cost(cost: float, share: str):
    assert share_of_cost({"flops": cost}, {"flops": 100.0}, "flops") == share


def test_a_cost_that_is_not_known_has_no_share():
    assert share_of_cost({}, {"flops": 100.0}, "flops") is None
    assert share_of_cost({"flops": 1.0}, {"flops": 0.0}, "flops") is None
