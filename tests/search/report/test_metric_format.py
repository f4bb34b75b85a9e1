"""A metric is shown with as many decimals as its spread is worth."""

import pytest
import torch
from widthwise.objectives.data.dataset import Task
from widthwise.objectives.model.metrics import METRICS
from widthwise.search.report.metric_format import PERFECT, format_difference, format_metric


@pytest.mark.parametrize(
    ("value", "deviation", "text"),
    [
        (0.97782, 0.0024, "0.9778 ± 0.0024"),
        (0.97782, 0.02, "0.978 ± 0.020"),
        (1234.567, 12.0, "1235 ± 12"),
        (1.2345e-6, 2e-8, "0.000001234 ± 0.000000020"),
        (-0.5, 0.1, "-0.50 ± 0.10"),
    ],
)
def test_with_its_spread(value: float, deviation: float, text: str) -> None:
    assert format_metric(value, deviation, with_deviation=True) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97, "0.9700"),
        (0.0, "0.0000"),
        (123456.7, "123457"),
        (1.5e9, "1.5e+09"),
        (1e-6, "1e-06"),
        (None, "—"),
    ],
)
def test_without_one(value: float | None, text: str) -> None:
    assert format_metric(value) == text


def test_differences_have_a_sign() -> None:
    assert format_difference(0.0004, 0.0024) == "+0.0004"
    assert format_difference(-0.0004, 0.0024) == "-0.0004"
    assert format_difference(0.0024, 0.0024, signed=False) == "0.0024"
    assert format_difference(0.5, 0.0) == "+0.5000"


@pytest.mark.parametrize("name", [name for name in METRICS if name != "loss"])
def test_what_is_perfect_is_known_of_every_named_metric(name: str) -> None:
    """Judged by a model that is all but certain of the right answer."""
    metric = METRICS[name]
    if metric.task == Task.REGRESSION:
        targets = torch.tensor([1.0, 2.0, 4.0, 8.0])
        value = metric(targets, targets)
    else:
        targets = torch.arange(7)
        value = metric(1e3 * torch.eye(7), targets)
    assert value == pytest.approx(PERFECT[name])
