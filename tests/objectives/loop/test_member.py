"""A member's state: when it stops, which epoch counts, and what ended it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.metrics import METRICS, Metric
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.evaluate import evaluate_metric, predict
from widthwise.objectives.training.settings import ProxySettings

BASE = Path()
WIDTHS = {"a": 16, "b": 8}
SHORT_SETTINGS = ProxySettings(epochs=3, device="cpu", judge_test=True)


def scripted(values: list[float], data: Data, direction: Any = "maximize") -> ModuleObjective:
    """Return an objective whose metric follows a script, call by call."""
    remaining = iter(values)
    metric = Metric(name="script", direction=direction, function=lambda *_: next(remaining))
    return make_objective(family="mlp", data=data, metric=metric, base=BASE)


def scripted_losses(losses: list[float], data: Data) -> ModuleObjective:
    """Return an objective whose validation losses follow a script, and whose metric counts up."""
    remaining, counter = iter(losses), count(1)

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        real = nn.functional.cross_entropy(output, targets)
        return real if torch.is_grad_enabled() else torch.tensor(next(remaining))

    metric = Metric(name="count", direction="minimize", function=lambda *_: next(counter))
    return make_objective(family="mlp", data=data, metric=metric, loss=loss, base=BASE)


@pytest.mark.parametrize(
    ("losses", "options", "validations", "best_epoch"),
    [
        ([3.0, 2.0, 2.0, 3.0, 4.0, 0.0], {"patience": 3}, 5, 1),
        ([3.0, 2.0, 3.0, 1.0, 3.0, 3.0], {"patience": 2}, 6, 3),
        ([1.0, 2.0, 3.0, 4.0, 4.0, 0.5], {"patience": 0}, 6, 5),
        ([1.0, 2.0, 3.0, 4.0, 4.0, 0.5], {"patience": 1}, 2, 0),
        ([1.0, 2.0, 3.0, 4.0, 4.0, 0.5], {"patience": 1, "min_epochs": 5}, 5, 0),
        ([4.0, 1.0, 4.0, 2.0, 1.5, 9.0], {"patience": 3, "smoothing": 2}, 6, 4),
        ([4.0, 1.0, 2.0], {"patience": 2, "validate_every": 2}, 3, 1),
        ([4.0, 5.0, 2.0], {"patience": 2, "validate_every": 2}, 2, 0),
        ([4.0, 2.0], {"patience": 0, "validate_every": 4}, 2, 1),
    ],
    ids=[
        "three without a better",
        "the last epoch",
        "no patience set",
        "one",
        "not before the least epochs",
        "a lucky epoch does not count by itself",
        "every other epoch",
        "every other epoch, out of patience",
        "the last epoch is validated",
    ],
)
def test_early_stopping_goes_by_the_smoothed_validation_loss(
    losses: list[float], options: Mapping[str, Any], validations: int, best_epoch: int, iris: Data
) -> None:
    settings = ProxySettings(**{"epochs": 6, "device": "cpu", "judge_test": True, **options})
    result = train(scripted_losses(losses, iris), WIDTHS, settings, seed=0)
    assert len(result.losses) == len(result.curve) == validations
    assert result.epochs == min(6, validations * settings.validate_every)
    assert result.curve == tuple(map(float, range(1, validations + 1)))
    assert (result.best_epoch, result.value) == (best_epoch, best_epoch + 1.0)
    assert result.test_value == validations + 1.0


def test_the_best_epochs_weights_are_evaluated_on_the_test_split(iris: Data) -> None:
    states: list[dict[str, Tensor]] = []
    modules: list[nn.Module] = []

    def build(widths: Mapping[str, int]) -> nn.Module:
        modules.append(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)))
        return modules[-1]

    def keep(_: int, __: float) -> None:
        states.append({key: value.clone() for key, value in modules[-1].state_dict().items()})

    objective = make_objective(build=build, data=iris, metric=METRICS["cross_entropy"], base=BASE)
    settings = ProxySettings(
        epochs=40, learning_rate=0.3, patience=5, device="cpu", judge_test=True
    )
    result = train(objective, {}, settings, seed=0, on_epoch=keep)
    assert result.best_epoch is not None
    assert result.best_epoch < result.epochs - 1
    modules[-1].load_state_dict(states[result.best_epoch])
    expected = evaluate_metric(objective, predict(modules[-1], iris.test.inputs), iris.test.targets)
    assert result.test_value == expected
    assert result.value == min(result.curve)
    # On as many of the rows that it was trained on as validate: 30 of 90.
    rows = torch.linspace(0, 89, 30).round().long()
    expected = evaluate_metric(
        objective, predict(modules[-1], iris.train.inputs[rows]), iris.train.targets[rows]
    )
    assert result.train_value == pytest.approx(expected, rel=1e-6)


def test_a_metric_that_cannot_judge_the_training_rows_fails_no_training(iris: Data) -> None:
    counts: list[int] = []

    def function(output: Tensor, _: Tensor) -> float:
        counts.append(len(output))
        if len(counts) > 3:
            raise ValueError("no more")
        return float(len(counts))

    metric = Metric(name="scripted", direction="maximize", function=function)
    objective = make_objective(family="mlp", data=iris, metric=metric, base=BASE)
    result = train(objective, WIDTHS, replace(SHORT_SETTINGS, patience=0, judge_test=False), seed=0)
    assert len(counts) == 4
    assert (result.outcome, result.train_value) == ("complete", None)


def test_an_epoch_that_fails_is_not_reported(iris: Data) -> None:
    recorded: list[tuple[int, float]] = []
    objective = scripted([0.5, 0.6, float("nan")], iris)
    result = train(
        objective, WIDTHS, SHORT_SETTINGS, seed=0, on_epoch=lambda *one: recorded.append(one)
    )
    assert result.outcome == "nan"
    assert recorded == [(0, 0.5), (1, 0.6)]


def test_a_nan_loss_is_an_outcome(iris: Data) -> None:
    calls = []

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        return output.mean() * (float("nan") if len(calls) > 6 else 1.0)

    objective = make_objective(family="mlp", data=iris, loss=loss, base=BASE)
    result = train(objective, WIDTHS, replace(SHORT_SETTINGS, batch_size=45), seed=0)
    assert result.outcome == "nan"
    assert result.detail == "the training loss became nan in epoch 2"
    assert (result.value, result.test_value, result.best_epoch) == (None, None, None)
    assert (result.epochs, len(result.curve), len(result.losses)) == (2, 2, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_nan_metric_is_an_outcome(value: float, iris: Data) -> None:
    result = train(scripted([0.5, value], iris), WIDTHS, SHORT_SETTINGS, seed=0)
    assert result.outcome == "nan"
    assert result.detail == f"the validation script became {value} in epoch 1"
    assert result.curve == (0.5,)


def test_a_real_divergence_is_an_outcome(iris: Data) -> None:
    settings = ProxySettings(epochs=50, learning_rate=1e30, patience=0, device="cpu")
    result = train(make_objective(family="mlp", data=iris, base=BASE), WIDTHS, settings, seed=0)
    assert result.outcome == "nan"


def raise_out_of_memory(_: Any) -> nn.Module:
    return nn.Linear(2**40, 2**20)


class OutOfMemoryLayer(nn.Linear):
    def forward(self, _: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nand more")


@pytest.mark.parametrize(
    ("build", "parameters", "says"),
    [
        pytest.param(raise_out_of_memory, 0, "memory ran out while it was built", id="building"),
        pytest.param(
            lambda _: OutOfMemoryLayer(4, 3), 15, "memory ran out in epoch 0", id="training"
        ),
    ],
)
def test_running_out_of_memory_is_an_outcome(
    build: Callable[[Any], nn.Module], parameters: int, says: str, iris: Data
) -> None:
    objective = make_objective(build=build, data=iris, base=BASE)
    result = train(objective, {}, SHORT_SETTINGS, seed=0)
    assert result.outcome == "out_of_memory"
    assert result.detail is not None
    assert says in result.detail
    assert "\n" not in result.detail
    assert (result.parameters, result.value, result.epochs) == (parameters, None, 0)
