"""The command: train a perceptron on small tables by several rules, and print test metrics.

Beside it stand the constant prediction, and scikit-learn's linear model and boosted trees on the
same rows: a network that is trained too short loses to them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from widthwise.objectives.data.dataset import Data, Task
from widthwise.objectives.data.load import BUILT_IN, load_data
from widthwise.objectives.data.split import max_train_rows
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.length import training_length
from widthwise.objectives.training.settings import ProxySettings

WIDTHS = {"hidden1": 64, "hidden2": 64}
BATCH_SIZE = 64


def too_short(_: Data) -> ProxySettings:
    """Return the rule of early releases: epochs, however few steps these are."""
    return ProxySettings(epochs=20, patience=3, batch_size=BATCH_SIZE, judge_test=True)


def default(data: Data, folds: int = 1, factor: int = 1) -> ProxySettings:
    """Return the default rule, with so many folds and times the length."""
    length = training_length(max_train_rows(data, folds), BATCH_SIZE)
    longer = {name: factor * getattr(length, name) for name in ("epochs", "patience", "min_epochs")}
    return ProxySettings(
        **{**length._asdict(), **longer}, folds=folds, batch_size=BATCH_SIZE, judge_test=True
    )


RULES: dict[str, Callable[[Data], ProxySettings]] = {
    "3 epochs": too_short,
    "default": default,
    "5 folds": lambda data: default(data, folds=5),
    "twice": lambda data: default(data, factor=2),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_tables", description=__doc__)
    parser.add_argument("--splits", type=int, default=8, help="random splits of each table")
    parser.add_argument("--json", type=Path, help="write the figures to a file, too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    models = ("constant", "linear", "trees", *RULES)
    print(f"{'table':14s} {'rows':>5s}" + "".join(f"{name:>10s}" for name in models) + "   steps")
    all_figures = {}
    for name in BUILT_IN:
        figures = [dict(measure(name, split)) for split in range(options.splits)]
        means = {key: fmean(figure[key] for figure in figures) for key in figures[0]}
        all_figures[name] = means
        cells = "".join(f"{means[model]:10.3f}" for model in models)
        steps = f"{means['steps, 3 epochs']:.0f} → {means['steps, default']:.0f}"
        print(f"{name:14s} {means['rows']:5.0f}{cells}   {steps}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(all_figures, indent=1) + "\n")
    return 0


def measure(name: str, split: int) -> Iterator[tuple[str, float]]:
    """Yield figures of one split of a table: test metrics (accuracy or R²), rows and steps."""
    data = load_data(name, base=Path(), seed=split)
    yield "rows", len(data.train)
    yield from judge_others(data)
    objective = make_objective(family="mlp", data=data, base=Path())
    for rule, settings_of in RULES.items():
        settings = settings_of(data)
        result = train(objective, WIDTHS, settings, seed=split)
        assert result.test_value is not None
        yield rule, result.test_value
        steps = math.ceil(max_train_rows(data, settings.folds) / BATCH_SIZE)
        yield f"steps, {rule}", result.epochs * steps


def judge_others(data: Data) -> Iterator[tuple[str, float]]:
    """Yield scikit-learn's own scores of its models on the test split."""
    classes = data.task == Task.CLASSIFICATION
    models: dict[str, Any] = {
        "constant": DummyClassifier() if classes else DummyRegressor(),
        "linear": LogisticRegression(max_iter=2_000) if classes else RidgeCV(),
        "trees": HistGradientBoostingClassifier(random_state=0)
        if classes
        else HistGradientBoostingRegressor(random_state=0),
    }
    for name, model in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(data.train.inputs.numpy(), data.train.targets.numpy())
        yield name, float(model.score(data.test.inputs.numpy(), data.test.targets.numpy()))


if __name__ == "__main__":
    sys.exit(main())
