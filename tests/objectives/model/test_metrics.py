"""Metrics: against scikit-learn, and against users' mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import nn
from widthwise.objectives.data.dataset import Data, Split, Task
from widthwise.objectives.errors import ImportFailure, MetricError
from widthwise.objectives.model.metric_binding import default_metric
from widthwise.objectives.model.metrics import (
    METRICS,
    Metric,
    imbalance_note,
    load_metric,
)

CLASS_REFERENCES: dict[str, Callable[..., float]] = {
    "accuracy": sklearn_metrics.accuracy_score,
    "balanced_accuracy": sklearn_metrics.recall_score,
    "f1": sklearn_metrics.f1_score,
}
QUANTITY_REFERENCES: dict[str, Callable[..., float]] = {
    "r2": sklearn_metrics.r2_score,
    "mse": sklearn_metrics.mean_squared_error,
    "rmse": sklearn_metrics.root_mean_squared_error,
    "mae": sklearn_metrics.mean_absolute_error,
}


@pytest.mark.parametrize("name", CLASS_REFERENCES)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 30), classes=st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_class_metrics_agree_with_scikit_learn(
    name: str, seed: int, rows: int, classes: int
) -> None:
    rng = np.random.default_rng(seed)
    output, target = rng.normal(size=(rows, classes)), rng.integers(classes, size=rows)
    guess = output.argmax(axis=1)
    options: dict[str, Any] = {}
    if name != "accuracy":
        # The mean over the classes of the target (recall), or those of either (f1).
        labels = np.unique(target if name == "balanced_accuracy" else [*target, *guess])
        options = {"average": "macro", "labels": labels, "zero_division": 0.0}
    expected = CLASS_REFERENCES[name](target, guess, **options)
    assert METRICS[name](torch.tensor(output), torch.tensor(target)) == pytest.approx(expected)


@pytest.mark.parametrize("name", QUANTITY_REFERENCES)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 30), columns=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_quantity_metrics_agree_with_scikit_learn(
    name: str, seed: int, rows: int, columns: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (rows, columns) if columns else (rows,)
    output, target = rng.normal(size=shape), rng.normal(size=shape)
    expected = QUANTITY_REFERENCES[name](target, output)
    if name == "rmse" and columns:
        expected = QUANTITY_REFERENCES["mse"](target, output) ** 0.5
    assert METRICS[name](torch.tensor(output), torch.tensor(target)) == pytest.approx(expected)


def test_cross_entropy_agrees_with_scikit_learn() -> None:
    logits, target = (
        torch.randn(50, 4, generator=torch.Generator().manual_seed(0)),
        torch.arange(50) % 4,
    )
    expected = sklearn_metrics.log_loss(target.numpy(), logits.double().softmax(dim=1).numpy())
    assert METRICS["cross_entropy"](logits, target) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_a_single_logit_decides_by_its_sign(shape: tuple[int, ...]) -> None:
    output = torch.tensor([-1.0, 2.0, 0.5, -3.0]).reshape(shape)
    target = torch.tensor([0, 1, 0, 0])
    assert METRICS["accuracy"](output, target) == 0.75
    expected = nn.functional.binary_cross_entropy_with_logits(output.flatten(), target.float())
    assert METRICS["cross_entropy"](output, target) == pytest.approx(float(expected))


LOGITS = torch.randn(30, 4, 5, 3, generator=torch.Generator().manual_seed(1))
POSITIONS = torch.randint(0, 4, (30, 5, 3), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("ignored", [False, True], ids=["all positions", "some left out"])
@pytest.mark.parametrize("name", [*CLASS_REFERENCES, "cross_entropy"])
def test_classes_at_every_position_count_as_so_many_rows(name: str, ignored: bool) -> None:
    target = POSITIONS.clone()
    if ignored:
        target[:, ::2] = -100
    rows = LOGITS.movedim(1, -1).reshape(-1, 4)
    counted = target.flatten() != -100
    expected = METRICS[name](rows[counted], target.flatten()[counted])
    assert METRICS[name](LOGITS, target) == pytest.approx(expected)


def test_labels_that_are_left_out_count_in_no_metric() -> None:
    """-100 stands for a label that nobody gave: each label is judged on the rows that have it."""
    generator = torch.Generator().manual_seed(5)
    output = torch.randn(50, 3, generator=generator)
    target = torch.randint(2, (50, 3), generator=generator)
    left_out = torch.rand(50, 3, generator=generator) < 0.3
    left_out[:4] = False
    with_gaps = torch.where(left_out, -100, target)
    said = (output > 0).long()
    columns = [
        (target[told, label].numpy(), said[told, label].numpy())
        for label, told in enumerate((~left_out).T)
    ]
    for name, judge in (
        ("f1", sklearn_metrics.f1_score),
        ("balanced_accuracy", sklearn_metrics.balanced_accuracy_score),
    ):
        expected = sum(judge(*column) for column in columns) / 3
        assert METRICS[name](output, with_gaps) == pytest.approx(expected)
    hits = sum(int((actual == predicted).sum()) for actual, predicted in columns)
    loss = nn.functional.binary_cross_entropy_with_logits(
        output[~left_out].double(), target[~left_out].double()
    )
    assert METRICS["cross_entropy"](output, with_gaps) == pytest.approx(float(loss))
    assert METRICS["accuracy"](output, with_gaps) == pytest.approx(hits / int((~left_out).sum()))


def test_several_labels_a_row_agree_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(3)
    output = torch.randn(40, 3, generator=generator)
    target = torch.randint(0, 2, (40, 3), generator=generator)
    guess = (output > 0).long().numpy()
    expected = sklearn_metrics.f1_score(target.numpy(), guess, average="macro")
    assert METRICS["f1"](output, target) == pytest.approx(expected)
    columns = [
        sklearn_metrics.balanced_accuracy_score(target.numpy()[:, k], guess[:, k]) for k in range(3)
    ]
    assert METRICS["balanced_accuracy"](output, target) == pytest.approx(np.mean(columns))
    assert METRICS["accuracy"](output, target) == pytest.approx((guess == target.numpy()).mean())
    likelihood = nn.functional.binary_cross_entropy_with_logits(output.double(), target.double())
    assert METRICS["cross_entropy"](output, target) == pytest.approx(float(likelihood))


@pytest.mark.parametrize("name", [*CLASS_REFERENCES, "cross_entropy"])
def test_classes_on_a_middle_axis_are_refused(name: str) -> None:
    with pytest.raises(MetricError, match=r"classes on axis 1|raised"):
        METRICS[name](LOGITS.movedim(1, 2), POSITIONS)


@pytest.mark.parametrize("name", [*CLASS_REFERENCES, "cross_entropy"])
def test_classes_on_the_last_axis_count_as_on_axis_1(name: str) -> None:
    assert METRICS[name](LOGITS.movedim(1, -1), POSITIONS) == METRICS[name](LOGITS, POSITIONS)


def test_r2_of_a_constant_target_is_one_or_nothing() -> None:
    flat = torch.ones(5)
    assert METRICS["r2"](flat, flat) == 1.0
    assert METRICS["r2"](flat + 1, flat) == 0.0


@pytest.mark.parametrize("name", QUANTITY_REFERENCES)
def test_shapes_never_broadcast(name: str) -> None:
    says = rf"metric {name}: the model's outputs have the shape \(5, 2\), the targets \(5,\)"
    with pytest.raises(MetricError, match=says):
        METRICS[name](torch.ones(5, 2), torch.arange(5.0))


@pytest.mark.parametrize("name", QUANTITY_REFERENCES)
def test_a_column_is_compared_with_its_rows(name: str) -> None:
    output, target = torch.tensor([1.0, 3.0, 2.5]), torch.tensor([1.0, 2.0, 3.0])
    assert METRICS[name](output[:, None], target) == METRICS[name](output, target)


@pytest.mark.parametrize(
    ("name", "worse", "better"),
    [("accuracy", 0.5, 0.6), ("r2", -1.0, 0.0), ("mse", 2.0, 1.0), ("cross_entropy", 2.0, 1.0)],
)
def test_better_follows_the_direction(name: str, worse: float, better: float) -> None:
    metric = METRICS[name]
    assert metric.better(better, worse)
    assert not metric.better(worse, better)
    assert not metric.better(worse, worse)
    assert metric.better(worse, None)


def test_defaults_by_task() -> None:
    assert default_metric("classification").name == "accuracy"
    assert default_metric("regression").name == "r2"


# A user's own metric


def write_metric(tmp_path: Path, body: str, name: str = "metric") -> str:
    path = tmp_path / "own_metric.py"
    path.write_text(f"import numpy as np\nimport torch\ndef {name}(output, target):\n    {body}\n")
    return f"own_metric.py:{name}"


@pytest.mark.parametrize(
    "expression",
    [
        "0.25",
        "np.float32(0.25)",
        "torch.tensor(0.25)",
        "torch.tensor([[0.25]])",
        "np.array([0.25])",
    ],
)
def test_a_users_metric_may_return_any_single_number(expression: str, tmp_path: Path) -> None:
    metric = load_metric(write_metric(tmp_path, f"return {expression}"), tmp_path, "minimize")
    value = metric(torch.ones(3, 2), torch.zeros(3))
    assert type(value) is float
    assert value == 0.25
    assert (metric.direction, metric.task) == ("minimize", None)


def test_a_users_metric_may_be_not_a_number(tmp_path: Path) -> None:
    metric = load_metric(write_metric(tmp_path, "return float('nan')"), tmp_path, "minimize")
    assert np.isnan(metric(torch.ones(3), torch.zeros(3)))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("pass", "returned None: it must return one number"),
        ("return 'good'", "returned 'good' (str)"),
        ("return True", "returned True (bool)"),
        ("return output", "Tensor"),
        ("return 1j", "complex"),
        ("return np.complex64(1 + 2j)", "complex"),
        ("return torch.tensor(1j)", "complex"),
        ("return 10**400", "which is no number of double precision"),
        ("return np.array([10**400], dtype=object)", "which is no number of double precision"),
        ("return -(10**5000)", "a value of type int, which is no number"),
        ("from fractions import Fraction; return Fraction(10**400)", "which is no number of"),
        ("return np.ones((2, 2))", "[1., 1.]"),
        ("return torch.ones(0)", "tensor([])"),
        ("return {'f1': 0.5}", "{'f1': 0.5} (dict)"),
        ("return (x for x in [1])", "generator"),
        ("return np.True_", "True"),
        ("import sys; sys.exit(0)", "raised SystemExit: 0"),
        ("raise __import__('asyncio').CancelledError", "raised CancelledError"),
        ("return metric(output, target)", "raised RecursionError"),
        ("raise ValueError('odd')", "raised ValueError: odd (output (3, 2), target (3,))"),
    ],
)
def test_a_users_metric_that_gives_no_number(body: str, says: str, tmp_path: Path) -> None:
    metric = load_metric(write_metric(tmp_path, body), tmp_path, "maximize")
    with pytest.raises(MetricError) as caught:
        metric(torch.ones(3, 2), torch.zeros(3))
    assert says in str(caught.value)
    assert "own_metric.py:metric" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_direction_may_be_an_attribute(tmp_path: Path) -> None:
    path = tmp_path / "directed.py"
    path.write_text("def loss(output, target):\n    return 1\nloss.direction = 'minimize'\n")
    assert load_metric("directed.py:loss", tmp_path).direction == "minimize"
    assert load_metric("directed.py:loss", tmp_path, "maximize").direction == "maximize"


@pytest.mark.parametrize(
    ("name", "direction", "says"),
    [
        ("acuracy", None, "did you mean 'accuracy'?"),
        ("zzz", None, "Choose one of accuracy, balanced_accuracy"),
        ("accuracy", "minimize", "is to maximize, not to minimize"),
        ("accuracy", "up", "the direction 'up' is unknown"),
        ("own_metric.py:metric", None, "does not say which direction is better"),
    ],
)
def test_an_unknown_or_unsuitable_metric_is_refused(
    name: str, direction: str | None, says: str, tmp_path: Path
) -> None:
    write_metric(tmp_path, "return 1")
    with pytest.raises(MetricError) as caught:
        load_metric(name, tmp_path, direction)
    assert says in str(caught.value)


def test_a_metric_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImportFailure):
        load_metric("gone.py:metric", tmp_path, "maximize")


def test_out_of_memory_in_a_metric_is_no_mistake_of_its_author() -> None:
    def greedy(output: Any, target: Any) -> float:
        raise MemoryError

    with pytest.raises(MemoryError):
        Metric(name="own", direction="maximize", function=greedy)(torch.ones(1), torch.ones(1))


def of_classes(*counts: int) -> Data:
    """Return data with so many rows of each class, all of them in every split."""
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    split = Split(inputs=torch.zeros(len(targets), 1), targets=targets)
    names = tuple(f"c{k}" for k in range(len(counts)))
    return Data(
        name="rows",
        task=Task.CLASSIFICATION,
        train=split,
        validation=split,
        test=split,
        outputs=len(counts),
        classes=names,
    )


@pytest.mark.parametrize(
    ("counts", "share"),
    [((5, 295), "98.3%"), ((83, 10, 7), "83.0%"), ((60, 40), None), ((79, 21), None)],
)
def test_accuracy_that_one_class_reaches_alone_is_told(
    counts: tuple[int, ...], share: str | None
) -> None:
    note = imbalance_note(METRICS["accuracy"], of_classes(*counts))
    if share is None:
        assert note is None
        return
    assert note is not None
    assert note.startswith(f"{share} of the rows are of class 'c{np.argmax(counts)}'")
    assert f"accuracy of {max(counts) / sum(counts):.3f}" in note
    assert "balanced_accuracy" in note


def test_a_metric_that_counts_every_class_alike_needs_no_warning() -> None:
    assert imbalance_note(METRICS["balanced_accuracy"], of_classes(5, 295)) is None
