"""A call of a training of the user's own, with what a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.own_training.own_training import OwnTraining, reported_metric
from widthwise.objectives.own_training.train import train_own
from widthwise.objectives.own_training.trial import Trial
from widthwise.objectives.training.settings import Halving, ProxySettings


def call_train(
    function: Callable[..., Any],
    folder: Path,
    *,
    metric: str = "accuracy",
    epochs: int | None = 10,
    halving: Halving | None = None,
    seed: int = 7,
    never_pruned: bool = False,
    **options: Any,
) -> TrainingResult | BaseException | None:
    """Train the candidate a = 8 by a function, in a folder that may hold what an earlier try left.

    Args:
        options: Those of `train_own` that are not about the candidate.
    """
    return train_own(
        OwnTraining(name="mine.py:train", function=function, metric=reported_metric(metric, None)),
        Candidate(widths={"a": 8}, seed=seed, never_pruned=never_pruned),
        ProxySettings(epochs=epochs or 1, halving=halving),
        epochs=epochs,
        device=torch.device("cpu"),
        number=3,
        costs={"parameters": 80},
        folder=folder,
        identity={"slot": 3, "widths": {"a": 8}},
        **options,
    )


def train_to_result(function: Callable[..., Any], folder: Path, **options: Any) -> TrainingResult:
    """Train as `call_train` does; what comes of it must be a result."""
    result = call_train(function, folder, **options)
    assert isinstance(result, TrainingResult), result
    return result


class Drained(Exception):
    """What a worker that stops raises."""


def report_ten(trial: Trial) -> float:
    for step in range(1, 11):
        trial.report(step, step / 10)
    return 1.0


def report_all(widths: Mapping[str, int], trial: Trial) -> float:
    return report_ten(trial)
