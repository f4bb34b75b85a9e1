"""A training of the user's own is loaded by its reference, and its metric by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from widthwise.objectives.errors import ImportFailure, MetricError, ModelError, TrainingError
from widthwise.objectives.own_training.own_training import load_own_training, reported_metric

CODE = """\
from torch import nn

def train(widths, trial, rate=0.1):
    return 1.0

def short(widths):
    return 1.0

def build(widths):
    return nn.Linear(4, widths["a"])

def wrong(widths):
    return "a model"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


def test_a_function_with_a_builder(folder: Path) -> None:
    own = load_own_training(
        "mine.py:train", folder, metric="accuracy", direction=None, build="mine.py:build"
    )
    assert (own.name, own.metric.name, own.metric.direction) == (
        "mine.py:train",
        "accuracy",
        "maximize",
    )
    model = own.build({"a": 3})
    assert isinstance(model, nn.Linear)
    assert model.out_features == 3


def test_a_builder_that_gives_no_model(folder: Path) -> None:
    own = load_own_training(
        "mine.py:train", folder, metric=None, direction="minimize", build="mine.py:wrong"
    )
    with pytest.raises(ModelError, match=r"mine.py:wrong.*a str"):
        own.build({"a": 3})


def test_a_function_that_takes_no_trial_is_refused(folder: Path) -> None:
    with pytest.raises(TrainingError, match=r"mine.py:short takes \(widths\)"):
        load_own_training("mine.py:short", folder, metric="accuracy", direction=None)


def test_a_function_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ImportFailure, match="did you mean 'train'"):
        load_own_training("mine.py:trian", folder, metric="accuracy", direction=None)


@pytest.mark.parametrize(
    ("name", "direction", "expected"),
    [
        ("accuracy", None, ("accuracy", "maximize")),
        ("mse", "minimize", ("mse", "minimize")),
        ("mean_return", "maximize", ("mean_return", "maximize")),
        (None, "minimize", ("value", "minimize")),
    ],
)
def test_the_direction_is_the_names_or_the_specs(
    name: str | None, direction: str | None, expected: tuple[str, str]
) -> None:
    metric = reported_metric(name, direction)
    assert (metric.name, metric.direction) == expected
    with pytest.raises(MetricError, match="reported by"):
        metric(torch.zeros(1), torch.zeros(1))


@pytest.mark.parametrize(
    ("name", "direction", "words"),
    [
        (None, None, "what train gives"),
        ("mean_return", None, "'mean_return'"),
        ("accuracy", "minimize", "is to maximize"),
    ],
)
def test_an_unknown_or_wrong_direction(name: str | None, direction: str | None, words: str) -> None:
    with pytest.raises(MetricError, match=words):
        reported_metric(name, direction)
