"""Evaluation: outputs of a whole split, and the metric in the units of the targets."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.streams.batch import Batch
from widthwise.objectives.errors import MetricError
from widthwise.objectives.model.metrics import METRICS, Metric
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.evaluate import (
    BatchEvaluation,
    evaluate_metric,
    predict,
    predict_batch,
)
from widthwise.tests.objectives.model.builders import (
    BASE,
)
from widthwise.tests.objectives.training.batch_models import in_batches


def test_metrics_are_in_the_targets_units(diabetes: Data) -> None:
    objective = make_objective(family="mlp", data=diabetes, metric=METRICS["mae"], base=BASE)
    targets = diabetes.validation.targets
    off_by_one_scale = evaluate_metric(objective, targets[:, None] + 1, targets)
    assert off_by_one_scale == pytest.approx(diabetes.target_scale[0], rel=1e-4)
    assert off_by_one_scale > 10


def test_a_users_metric_sees_units_and_shapes_alike(diabetes: Data) -> None:
    observed: list[tuple[Tensor, Tensor]] = []

    def keep(output: Tensor, target: Tensor) -> float:
        observed.append((output, target))
        return 0.0

    metric = Metric(name="keep", direction="maximize", function=keep)
    objective = make_objective(family="mlp", data=diabetes, metric=metric, base=BASE)
    evaluate_metric(objective, diabetes.test.targets[:, None], diabetes.test.targets)
    output, target = observed[0]
    assert output.shape == target.shape == (len(diabetes.test),)
    assert float(target.min()) >= 25
    torch.testing.assert_close(output, target)


def test_outputs_of_the_users_own_shape_stay_as_they_are(diabetes: Data) -> None:
    def likelihood(output: Tensor, target: Tensor) -> float:
        return float(((output[:, 0] - target) ** 2).mean())

    metric = Metric(name="own", direction="minimize", function=likelihood)
    objective = make_objective(family="mlp", data=diabetes, metric=metric, base=BASE)
    targets = diabetes.validation.targets
    assert evaluate_metric(objective, torch.stack([targets, targets * 0], dim=1), targets) == 0.0


def test_outputs_are_predicted_in_batches_without_batch_statistics() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2))
    inputs = torch.randn(10, 3)
    whole = predict(model, inputs, batch_size=100)
    torch.testing.assert_close(predict(model, inputs, batch_size=3), whole)
    assert not whole.requires_grad
    assert whole.shape == (10, 2)


def test_outputs_of_several_heads_are_joined_head_by_head() -> None:
    class Heads(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"a": x, "b": (x[:, :1], [x * 2])}

    outputs = predict(Heads(), torch.arange(12.0).reshape(6, 2), batch_size=4)
    assert outputs["a"].shape == (6, 2)
    assert outputs["b"][0].shape == (6, 1)
    assert torch.equal(outputs["b"][1][0], outputs["a"] * 2)


@pytest.mark.parametrize("sizes", [[20], [8, 8, 4], [1, 19]])
@pytest.mark.parametrize("name", ["accuracy", "cross_entropy", "f1"])
def test_batches_of_a_split_are_judged_as_the_whole(
    name: str, sizes: list[int], iris: Data
) -> None:
    metric = METRICS[name]
    objective = make_objective(family="mlp", data=iris, metric=metric, base=BASE)
    output = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(20) % 3
    evaluation = BatchEvaluation(objective)
    for part, part_targets in zip(output.split(sizes), targets.split(sizes), strict=True):
        evaluation.update(part, Batch((part,), targets=part_targets))
    assert evaluation.metric() == pytest.approx(metric(output, targets), rel=1e-6)
    expected = nn.functional.cross_entropy(output.double(), targets)
    assert evaluation.loss == pytest.approx(float(expected), rel=1e-6)


def test_the_loss_of_masked_tokens_is_that_of_the_split() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, 3, 4, generator=draw), torch.arange(24).reshape(6, 4) % 3
    targets[0], targets[1, 1:] = -100, -100
    objective = make_objective(
        build=lambda _: nn.Identity(),
        data=in_batches(lambda row: (torch.zeros(2), torch.arange(row, row + 4) % 3)),
        base=BASE,
    )
    evaluation = BatchEvaluation(objective)
    for part, part_targets in zip(logits.split([1, 3, 2]), targets.split([1, 3, 2]), strict=True):
        evaluation.update(part, Batch((part,), targets=part_targets))
    expected = nn.functional.cross_entropy(logits.double(), targets)
    assert evaluation.loss == pytest.approx(float(expected), rel=1e-6)


def test_a_further_metric_that_raises_does_so_when_it_is_asked_for(iris: Data) -> None:
    def breaks(output: Tensor, targets: Tensor) -> float:
        raise ArithmeticError("not today")

    further = Metric(name="own", direction="maximize", function=breaks)
    objective = make_objective(family="mlp", data=iris, base=BASE)
    evaluation = BatchEvaluation(objective, (objective.metric, further))
    evaluation.update(torch.eye(3), Batch((torch.zeros(3, 4),), targets=torch.arange(3)))
    assert evaluation.metric() == 1
    with pytest.raises(MetricError, match="metric own raised ArithmeticError: not today"):
        evaluation.metric(1)


def test_outputs_with_parts_by_name_stay_so_in_half_precision() -> None:
    @dataclass
    class Output:
        logits: Tensor
        loss: Tensor | None = None

    class Net(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return Output(logits=super().forward(x))

    output = predict_batch(Net(4, 3), Batch((torch.ones(2, 4),)), torch.bfloat16)
    assert isinstance(output, Output)
    assert output.logits.dtype == torch.float32
    assert output.loss is None
