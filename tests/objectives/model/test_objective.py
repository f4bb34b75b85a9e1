"""Objectives: what makes one, and what its builder and loss do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.dataset import Data, Task
from widthwise.objectives.errors import ImportFailure, MetricError, ModelError
from widthwise.objectives.model.metrics import METRICS
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.evaluate import evaluate_metric
from widthwise.tests.objectives.model.builders import (
    BASE,
    SMALL_WIDTHS,
    Widths,
    custom_objective,
    two_layers,
)
from widthwise.tests.objectives.training.batch_models import in_batches


def test_a_builder_by_reference(tmp_path: Path, iris: Data) -> None:
    (tmp_path / "own_model.py").write_text(
        "from torch import nn\ndef build(widths):\n    return nn.Linear(4, 3)\n"
    )
    objective = make_objective(build="own_model.py:build", data=iris, base=tmp_path)
    assert objective.name == "own_model.py:build"
    assert isinstance(objective.build({}), nn.Linear)
    assert (objective.metric.name, objective.loss_name) == ("accuracy", "cross_entropy")


def test_defaults_for_a_regression(diabetes: Data) -> None:
    objective = make_objective(family="mlp", data=diabetes, base=BASE)
    assert (objective.metric.name, objective.loss_name) == ("r2", "mse")


def test_a_builder_cannot_change_the_candidate(iris: Data) -> None:
    def build(widths: dict[str, int]) -> nn.Module:
        widths["a"] = 1
        return nn.Linear(4, 3)

    widths = {"a": 8}
    make_objective(build=build, data=iris, base=BASE).build(widths)  # type: ignore[arg-type]
    assert widths == {"a": 8}


def raising(widths: Widths) -> nn.Module:
    raise ValueError("heads do not divide")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (raising, "raising: build(widths) raised ValueError: heads do not divide; the widths were"),
        (lambda widths: widths["z"], "raised KeyError: 'z'; the widths were {'a': 4, 'b': 4}"),
        (lambda _: None, "returned None: it must return a torch.nn.Module"),
        (lambda _: nn.Linear, "returned a type"),
        (lambda _: torch.zeros(3), "returned a Tensor"),
        (lambda: None, "raised TypeError"),
    ],
)
def test_a_builder_that_gives_no_module(build: Callable[..., Any], says: str, iris: Data) -> None:
    with pytest.raises(ModelError) as caught:
        custom_objective(build, iris).build(SMALL_WIDTHS)
    assert says in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_a_builder_raised_is_chained(iris: Data) -> None:
    with pytest.raises(ModelError) as caught:
        custom_objective(raising, iris).build(SMALL_WIDTHS)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_builder_that_runs_out_of_memory_made_no_mistake(iris: Data) -> None:
    def build(widths: Widths) -> nn.Module:
        return nn.Linear(2**40, 2**20)

    with pytest.raises(RuntimeError, match="allocate memory"):
        custom_objective(build, iris).build(SMALL_WIDTHS)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, ModelError, "either `build` or `family`"),
        ({"build": two_layers, "family": "mlp"}, ModelError, "exactly one"),
        ({"build": two_layers, "options": {"norm": "batch"}}, ModelError, "the options norm"),
        ({"family": "cnn"}, ModelError, "takes images"),
        ({"family": "lstm"}, ModelError, "a table of columns, which are no steps: choose family"),
        ({"family": "transformer"}, ModelError, "takes sequences, and data 'iris' is a table of"),
        ({"family": "mlp", "options": {"depth": 3}}, ModelError, "no option 'depth'"),
        ({"build": "gone.py:build"}, ImportFailure, "there is no file"),
        (
            {"family": "mlp", "metric": METRICS["r2"]},
            MetricError,
            "is for a regression, data",
        ),
        ({"family": "mlp", "loss": "huber"}, MetricError, "is for a regression"),
    ],
)
def test_an_impossible_objective_is_refused(
    options: dict[str, Any], error: type[Exception], says: str, iris: Data
) -> None:
    with pytest.raises(error) as caught:
        make_objective(data=iris, base=BASE, **options)
    assert says in str(caught.value)


@pytest.mark.parametrize("squeeze", [False, True])
def test_a_column_of_outputs_meets_a_row_of_targets(squeeze: bool, diabetes: Data) -> None:
    further = [METRICS["loss"]]
    objective = make_objective(family="mlp", data=diabetes, reported=further, base=BASE)
    output = torch.randn(diabetes.validation.targets.shape)
    shaped = output if squeeze else output[:, None]
    targets = diabetes.validation.targets
    expected = (output - targets).square().mean()
    torch.testing.assert_close(objective.loss(shaped, targets), expected)
    assert objective.reported[0](shaped, targets) == pytest.approx(float(expected))
    perfect = targets if squeeze else targets[:, None]
    assert evaluate_metric(objective, perfect, targets) == 1.0


def class_objective(row_targets: Tensor, **options: Any) -> ModuleObjective:
    data = replace(
        in_batches(lambda row: (torch.zeros(6), row_targets[row])), task=Task.CLASSIFICATION
    )
    return make_objective(build=lambda _: nn.Identity(), data=data, base=BASE, **options)


COUNTING = ["accuracy", "balanced_accuracy", "f1", "precision", "mcc", "auroc", "top5_accuracy"]


@pytest.mark.parametrize("offset", [0.0, -50.0])
def test_one_hot_targets_in_batches_are_class_numbers_to_what_counts_classes(offset: float) -> None:
    draw = torch.Generator().manual_seed(0)
    classes = torch.randint(7, (20,), generator=draw)
    logits = torch.randn(20, 7, generator=draw) + 2 * nn.functional.one_hot(classes, 7) + offset
    shares = nn.functional.one_hot(classes, 7).float()
    reported = [METRICS[name] for name in COUNTING]
    for given in (shares, 0.9 * shares + 0.1 / 7):
        objective = class_objective(given, metric=METRICS["accuracy"], reported=reported)
        assert objective.loss_name == "cross_entropy"
        for metric in (objective.metric, *objective.reported):
            assert metric(logits, given) == METRICS[metric.name](logits, classes)
            assert metric.keeps_outputs == METRICS[metric.name].keeps_outputs
    objective = class_objective(shares, metric=METRICS["cross_entropy"])
    expected = nn.functional.cross_entropy(logits, classes)
    assert objective.metric(logits, shares) == pytest.approx(float(expected))


def test_the_cross_entropy_of_floating_labels_is_that_of_each_label() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(20, 3, generator=draw), torch.rand(20, 3, generator=draw).round()
    metrics = [METRICS["cross_entropy"], METRICS["perplexity"]]
    objective = class_objective(labels, metric=metrics[0], reported=metrics)
    expected = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(objective.loss(logits, labels), expected)
    assert objective.metric(logits, labels) == pytest.approx(float(expected))
    assert objective.reported[1](logits, labels) == pytest.approx(float(expected.exp()))
    with pytest.raises(MetricError, match="fractions"):
        objective.metric(logits, labels * 0.5)
