"""Reference models have the figures that scikit-learn itself gives them on the same rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score
from torch import Tensor
from widthwise.objectives.data.dataset import Data, Split, Task
from widthwise.objectives.data.load import load_data
from widthwise.objectives.data.split import make_folds
from widthwise.objectives.model.metrics import METRICS, Metric
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.reference_models import judge_reference_models


def objective_of(data: Data, metric: Metric | None = None) -> ModuleObjective:
    return make_objective(
        build=lambda _: torch.nn.Identity(), data=data, metric=metric, base=Path()
    )


def table(targets: Tensor, task: Task, outputs: int, rows: int = 60) -> Data:
    inputs = torch.randn(3 * rows, 4, generator=torch.Generator().manual_seed(1))
    splits = [
        Split(inputs=inputs[start : start + rows], targets=targets[start : start + rows])
        for start in (0, rows, 2 * rows)
    ]
    classes = tuple(map(str, range(outputs))) if task == Task.CLASSIFICATION else None
    return Data(
        name="table",
        task=task,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        outputs=outputs,
        classes=classes,
    )


def test_classes_are_judged_as_scikit_learn_judges_them() -> None:
    data = load_data("wine", base=Path(), seed=0)
    figures = judge_reference_models(objective_of(data), folds=1, widths={}, judge_test=True)
    arrays = [
        part.numpy()
        for split in (data.train, data.validation, data.test)
        for part in (split.inputs, split.targets)
    ]
    x, y, x_validation, y_validation, x_test, y_test = arrays
    for name, model in {
        "constant": DummyClassifier(),
        "linear": LogisticRegression(max_iter=1_000),
    }.items():
        model.fit(x, y)
        value = accuracy_score(y_validation, model.predict(x_validation))
        assert figures[name].value == pytest.approx(value)
        assert figures[name].test == pytest.approx(accuracy_score(y_test, model.predict(x_test)))
    assert figures["trees"].value > 0.85


def test_quantities_are_judged_in_the_targets_own_unit() -> None:
    data = load_data("diabetes", base=Path(), seed=0)
    figures = judge_reference_models(objective_of(data, METRICS["mae"]), folds=1, widths={})
    scale, mean = data.target_scale[0], data.target_mean[0]
    targets = data.validation.targets.numpy() * scale + mean
    median = np.median(data.train.targets.numpy()) * scale + mean
    constant = np.full_like(targets, median)
    assert figures["constant"].value == pytest.approx(
        mean_absolute_error(targets, constant), rel=1e-5
    )
    trees = HistGradientBoostingRegressor(random_state=0).fit(
        data.train.inputs.numpy(), data.train.targets.numpy()
    )
    predictions = trees.predict(data.validation.inputs.numpy()) * scale + mean
    assert figures["trees"].value == pytest.approx(
        mean_absolute_error(targets, predictions), rel=1e-4
    )


@pytest.mark.parametrize("repeats", [1, 2])
def test_folds_are_those_of_the_candidates(repeats: int) -> None:
    data = load_data("iris", base=Path(), seed=0)
    objective = objective_of(data)
    figures = judge_reference_models(objective, folds=3, widths={}, repeats=repeats)
    by_fold = [
        judge_reference_models(replace(objective, data=fold), folds=1, widths={})
        for fold in make_folds(data, 3, repeats)
    ]
    for name in ("constant", "linear", "trees"):
        expected = np.mean([figure[name].value for figure in by_fold])
        assert figures[name].value == pytest.approx(expected)
        assert figures[name].scores == tuple(figure[name].value for figure in by_fold)
        assert figures[name].ratio == pytest.approx(40 / 80)


def test_several_columns_are_predicted_together() -> None:
    inputs = torch.randn(180, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.stack([inputs[:, 0], inputs[:, 1] - inputs[:, 2]], dim=1)
    figures = judge_reference_models(
        objective_of(table(targets, Task.REGRESSION, outputs=2)), folds=1, widths={}
    )
    assert figures["linear"].value > 0.99
    assert 0.3 < figures["trees"].value < 1.0
    assert figures["constant"].value == pytest.approx(
        r2_score(targets[60:120], targets[:60].mean(dim=0).expand(60, 2)), abs=1e-5
    )


def test_a_class_that_only_other_rows_have_is_no_obstacle() -> None:
    targets = torch.arange(180) % 3
    targets[:60] = targets[:60].clamp_max(1)  # the training rows have no third class
    data = table(targets, Task.CLASSIFICATION, outputs=3)
    figures = judge_reference_models(
        objective_of(data, METRICS["cross_entropy"]), folds=1, widths={}
    )
    assert figures.keys() == {"constant", "linear", "trees"}
    assert all(np.isfinite(figure.value) for figure in figures.values())


def test_images_have_a_constant_alone_and_no_test_split_no_test_figure() -> None:
    targets = torch.arange(180) % 2
    data = table(targets, Task.CLASSIFICATION, outputs=2)
    splits = [
        replace(split, inputs=split.inputs.reshape(-1, 1, 2, 2))
        for split in (data.train, data.validation)
    ]
    empty = Split(inputs=torch.zeros(0, 1, 2, 2), targets=torch.zeros(0, dtype=torch.int64))
    images = replace(data, train=splits[0], validation=splits[1], test=empty)
    (figure,) = judge_reference_models(objective_of(images), folds=1, widths={}).values()
    assert (figure.value, figure.test) == (0.5, None)


def test_a_metric_that_asks_for_other_outputs_has_no_figures() -> None:
    def of_pairs(output: tuple[Tensor, Tensor], _: Tensor) -> float:
        mean, variance = output
        return float(mean.mean() + variance["scale"])

    metric = Metric(name="pairs", direction="minimize", function=of_pairs)
    data = load_data("iris", base=Path(), seed=0)
    assert judge_reference_models(objective_of(data, metric), folds=1, widths={}) == {}


@pytest.mark.parametrize(("outputs", "has_figures"), [(1, True), (2, False)])
def test_a_metric_of_ones_own_is_asked_where_outputs_are_the_quantities_themselves(
    outputs: int, has_figures: bool
) -> None:
    """A mean and a variance, say, are not: a figure for other outputs would mean nothing."""

    def first_column_error(output: Tensor, target: Tensor) -> float:
        return float((output.reshape(len(target), -1)[:, 0] - target).abs().mean())

    metric = Metric(name="own", direction="minimize", function=first_column_error)
    objective = make_objective(
        build=lambda _: torch.nn.Linear(10, outputs),
        data=load_data("diabetes", base=Path(), seed=0),
        metric=metric,
        base=Path(),
    )
    before = torch.random.get_rng_state()
    figures = judge_reference_models(objective, folds=1, widths={})
    assert torch.equal(torch.random.get_rng_state(), before)
    assert set(figures) == ({"constant", "linear", "trees"} if has_figures else set())
