"""A user's metric that is one of torchmetrics."""

from pathlib import Path

import pytest
import torch
from sklearn.metrics import f1_score
from widthwise.objectives.errors import MetricError
from widthwise.objectives.model.metrics import load_metric, load_reported

FILE = """
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassF1Score
from torchmetrics.regression import MeanSquaredError
from torchmetrics.aggregation import MeanMetric
macro_f1 = MulticlassF1Score(num_classes=3, average="macro")
both = MetricCollection([MeanSquaredError()])
"""
DRAW = torch.Generator().manual_seed(5)
LOGITS, TARGETS = torch.randn(50, 3, generator=DRAW), torch.randint(3, (50,), generator=DRAW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own_metrics.py").write_text(FILE)
    return tmp_path


def test_an_object_is_a_metric_with_its_direction(folder: Path) -> None:
    metric = load_metric("own_metrics.py:macro_f1", folder)
    assert (metric.direction, metric.task, metric.keeps_outputs) == ("maximize", None, False)
    expected = f1_score(TARGETS.numpy(), LOGITS.argmax(dim=1).numpy(), average="macro")
    for _ in range(2):  # the user's object keeps nothing of the calls before
        assert metric(LOGITS, TARGETS) == pytest.approx(expected)
    accumulator = metric.start()
    for rows in (slice(20), slice(20, 50)):
        accumulator.update({"logits": LOGITS[rows]}, TARGETS[rows])
    assert accumulator.result() == pytest.approx(expected)


def test_a_class_is_made_without_arguments(folder: Path) -> None:
    metric = load_metric("own_metrics.py:MeanSquaredError", folder)
    assert metric.direction == "minimize"
    assert metric(torch.ones(4), torch.zeros(4)) == 1.0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MulticlassF1Score", "class of torchmetrics that raised"),
        ("both", "of several figures"),
        ("MeanMetric", "does not say which direction is better"),
    ],
)
def test_what_cannot_be_one_figure_is_refused(name: str, says: str, folder: Path) -> None:
    with pytest.raises(MetricError, match=says):
        load_metric(f"own_metrics.py:{name}", folder)


def test_what_is_reported_needs_no_direction(folder: Path) -> None:
    (metric, f1) = load_reported(["own_metrics.py:MeanMetric", "f1"], folder)
    assert (metric.key, f1.key) == ("MeanMetric", "f1")


def test_two_reported_metrics_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(MetricError, match="would both be recorded as 'macro_f1'"):
        load_reported(["own_metrics.py:macro_f1", "own_metrics.py:macro_f1"], folder)


def test_outputs_that_do_not_fit_are_told(folder: Path) -> None:
    metric = load_metric("own_metrics.py:macro_f1", folder)
    with pytest.raises(MetricError, match=r"own_metrics.py:macro_f1 raised .*output \(50, 5\)"):
        metric(torch.randn(50, 5), torch.full((50,), 4))
