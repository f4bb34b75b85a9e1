"""The constant prediction: against scikit-learn's dummy estimators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from sklearn.dummy import DummyClassifier, DummyRegressor
from torch import Tensor, nn
from widthwise.objectives.data.arrays.result import read_result
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.data.split import make_folds
from widthwise.objectives.model.metrics import METRICS, Metric
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.model.objective import make_objective as make_family_objective
from widthwise.objectives.training.constant import constant_loss, constant_score
from widthwise.tests.objectives.model.builders import custom_objective

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
CLASSES = RNG.choice(3, size=200, p=[0.7, 0.2, 0.1])
TRAIN, VALIDATION = slice(0, 120), slice(120, 200)
WIDTHS = {"a": 4}


def make_objective(y: Any, metric: Metric, outputs: int = 1, **options: Any) -> ModuleObjective:
    splits = ((X[TRAIN], y[TRAIN]), (X[VALIDATION], y[VALIDATION]), (X[:9], y[:9]))
    raw = read_result("own", splits)
    assert not isinstance(raw, Data)
    data = make_dataset(raw, seed=0, own_loss="loss" in options)
    return custom_objective(lambda _: nn.Linear(4, outputs), data, metric=metric, **options)


@pytest.mark.parametrize(
    "y",
    [
        pytest.param(1000 + 10 * X[:, 0], id="around 1000"),
        pytest.param(1e-6 * RNG.exponential(size=200), id="small"),
        pytest.param(1e9 + 1e6 * X[:, 1], id="large"),
        pytest.param(np.exp(X[:, :3]) * [1.0, 1e3, 1e-3], id="columns of different scales"),
    ],
)
@pytest.mark.parametrize("own_loss", [False, True], ids=["standardised", "as given"])
@pytest.mark.parametrize("name", ["r2", "mse", "rmse", "mae"])
def test_the_typical_quantity_is_what_scikit_learn_predicts(
    name: str, own_loss: bool, y: Any
) -> None:
    options = {"loss": nn.functional.mse_loss} if own_loss else {}
    objective = make_objective(y, METRICS[name], **options)
    dummy = DummyRegressor(strategy="median" if name == "mae" else "mean").fit(X[TRAIN], y[TRAIN])
    predicted, actual = dummy.predict(X[VALIDATION]), y[VALIDATION]
    expected = {
        "r2": lambda: sklearn_metrics.r2_score(actual, predicted),
        "mse": lambda: sklearn_metrics.mean_squared_error(actual, predicted),
        "rmse": lambda: sklearn_metrics.mean_squared_error(actual, predicted) ** 0.5,
        "mae": lambda: sklearn_metrics.mean_absolute_error(actual, predicted),
    }[name]()
    score = constant_score(objective, 1, WIDTHS)
    assert score == pytest.approx(expected, rel=1e-3, abs=1e-3 if name == "r2" else 0.0)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "f1", "cross_entropy"])
def test_the_commonest_class_is_what_scikit_learn_predicts(name: str) -> None:
    dummy = DummyClassifier(strategy="prior").fit(X[TRAIN], CLASSES[TRAIN])
    predicted, actual = dummy.predict(X[VALIDATION]), CLASSES[VALIDATION]
    expected = {
        "accuracy": lambda: sklearn_metrics.accuracy_score(actual, predicted),
        "balanced_accuracy": lambda: sklearn_metrics.balanced_accuracy_score(actual, predicted),
        "f1": lambda: sklearn_metrics.f1_score(actual, predicted, average="macro"),
        "cross_entropy": lambda: sklearn_metrics.log_loss(
            actual, dummy.predict_proba(X[VALIDATION])
        ),
    }[name]()
    score = constant_score(make_objective(CLASSES, METRICS[name], 3), 1, WIDTHS)
    assert score == pytest.approx(expected)


def test_labels_and_positions_have_a_constant_too() -> None:
    labels = RNG.random((200, 3)) < [0.9, 0.2, 0.4]
    score = constant_score(make_objective(labels, METRICS["accuracy"], 3), 1, WIDTHS)
    majority = labels[TRAIN].mean(axis=0) > 0.5
    assert score == pytest.approx((labels[VALIDATION] == majority).mean())
    masks = RNG.choice(3, size=(200, 4, 5), p=[0.2, 0.7, 0.1])
    score = constant_score(make_objective(masks, METRICS["accuracy"], 3), 1, WIDTHS)
    assert score == pytest.approx((masks[VALIDATION] == 1).mean())


@pytest.mark.parametrize("shape", [(200, 3), (200, 4, 5)], ids=["labels", "masks"])
def test_what_is_left_out_of_yes_and_no_counts_nowhere(shape: tuple[int, ...]) -> None:
    """Each label, or position, has a commonest answer among the rows that have one."""
    likely = RNG.permuted(np.resize([0.1, 0.9, 0.8, 0.3], shape[1:]))
    y = np.where(RNG.random(shape) < 0.3, -100, RNG.random(shape) < likely)
    told, train = y[VALIDATION] != -100, np.ma.masked_equal(y[TRAIN], -100)
    right = y[VALIDATION] == (np.asarray(train.mean(axis=0)) > 0.5)
    objective = make_objective(y, METRICS["accuracy"])
    assert constant_score(objective, 1, WIDTHS) == pytest.approx(right[told].mean())
    share = (np.asarray((train == 1).sum(axis=0)) + 0.5) / (np.asarray(train.count(axis=0)) + 1)
    given = np.where(y[VALIDATION] == 1, share, 1 - share)
    score = constant_score(make_objective(y, METRICS["cross_entropy"]), 1, WIDTHS)
    assert score == pytest.approx(-np.log(given[told]).mean())


def test_of_several_folds_it_is_the_mean() -> None:
    raw = read_result("own", (X, CLASSES))
    assert not isinstance(raw, Data)
    data = make_dataset(raw, seed=0)
    objective = custom_objective(lambda _: nn.Linear(4, 3), data, metric=METRICS["accuracy"])
    rows = torch.cat([data.train.targets, data.validation.targets])
    share = float((rows == torch.bincount(rows).argmax()).double().mean())
    assert constant_score(objective, 5, WIDTHS) == pytest.approx(share, abs=0.01)
    by_fold = [
        constant_score(replace(objective, data=fold), 1, WIDTHS) for fold in make_folds(data, 5, 2)
    ]
    repeated = constant_score(objective, 5, WIDTHS, repeats=2)
    assert repeated == pytest.approx(np.mean(np.array(by_fold, dtype=float)))


def error_of(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs().max()


@pytest.mark.parametrize(
    ("y", "outputs", "known"),
    [
        pytest.param(1000 + 10 * X[:, 0], 1, True, id="a quantity"),
        pytest.param(1000 + 10 * X[:, 0], 2, False, id="mean and variance"),
        pytest.param(CLASSES, 3, False, id="classes"),
    ],
)
def test_a_metric_of_ones_own_is_asked_where_outputs_are_quantities(
    y: Any, outputs: int, known: bool
) -> None:
    metric = Metric(name="own", direction="minimize", function=error_of)
    score = constant_score(make_objective(y, metric, outputs), 1, WIDTHS)
    assert (score is not None) == known
    if known:
        assert score == pytest.approx(np.abs(y[VALIDATION] - y[TRAIN].mean()).max(), rel=1e-4)


def test_a_metric_that_raises_leaves_trials_unmarked() -> None:
    def raises(*_: Any) -> float:
        raise SystemExit(0)

    metric = Metric(name="own", direction="minimize", function=raises)
    assert constant_score(make_objective(1000 + X[:, 0], metric), 1, WIDTHS) is None


@pytest.mark.parametrize(
    ("y", "loss", "expected"),
    [
        pytest.param(1000 + 10 * X[:, 0], "mse", 1.0, id="squared, of standardised targets"),
        pytest.param(1000 + 10 * X[:, 0], "mae", 0.8, id="absolute"),
        pytest.param(CLASSES, "cross_entropy", 1.0, id="nats"),
    ],
)
def test_the_loss_of_a_constant_is_that_of_scikit_learns_dummy(
    y: Any, loss: str, expected: float
) -> None:
    raw = read_result("own", (X, y))
    assert not isinstance(raw, Data)
    data = make_dataset(raw, seed=0)
    objective = make_family_objective(family="mlp", data=data, loss=loss, base=Path())
    train, validation = data.train.targets.numpy(), data.validation.targets.numpy()
    zeros, others = np.zeros((len(train), 1)), np.zeros((len(validation), 1))
    if loss == "cross_entropy":
        dummy = DummyClassifier(strategy="prior").fit(zeros, train)
        reference = sklearn_metrics.log_loss(validation, dummy.predict_proba(others))
    else:
        strategy = "median" if loss == "mae" else "mean"
        dummy = DummyRegressor(strategy=strategy).fit(zeros, train)
        errors = dummy.predict(others) - validation
        reference = np.abs(errors).mean() if loss == "mae" else np.square(errors).mean()
    assert constant_loss(objective, 1) == pytest.approx(reference, rel=1e-5)
    assert reference == pytest.approx(expected, rel=0.4)


def test_the_loss_of_a_constant_is_unknown_for_a_loss_of_ones_own() -> None:
    raw = read_result("own", (X, CLASSES))
    assert not isinstance(raw, Data)
    data = make_dataset(raw, seed=0)
    objective = make_family_objective(
        family="mlp", data=data, loss=torch.nn.functional.multi_margin_loss, base=Path()
    )
    assert constant_loss(objective, 1) is None
