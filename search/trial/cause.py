"""Why trials have not learned anything: learning rate, scaling or target, by what was measured.

Entry point: `likely_cause`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from ...objectives.data.dataset import Data, Task
from ...objectives.data.streams.source import BatchData
from ...storage.ledger.slot import SlotRecord
from ..goal import Goal
from ..problem.problem import Problem

SCALE = 100.0
"""Standard deviations of inputs or targets from its inverse to it are near enough to 1."""

MAX_MAJORITY = 0.9
"""Share of the commonest class from which accuracy tells little."""

STILL = 0.01
"""Share of a training loss below which it has hardly moved."""

EXPLODED = 3.0
"""Training loss in units of a constant prediction's from which it has grown instead of fallen."""

FITTED = 0.9
"""Training loss in units of a constant prediction's below which the training rows were learnt."""

_TITLES = {"linear": "a linear model", "trees": "boosted trees"}


def likely_cause(
    untrained: Sequence[SlotRecord],
    problem: Problem,
    references: Mapping[str, Mapping[str, Any]],
    *,
    nan_count: int = 0,
) -> str:
    """Return in a few sentences what is likely to be mended, and what other models reach.

    Args:
        untrained: The trials that have not learned.
        problem: What was searched.
        references: Figures of other models on the same rows, by name.
        nan_count: Trials whose loss or metric was no number.
    """
    others, learnable = _others(references, problem.goal)
    causes = (
        _scaling(problem),
        _learning_rate(untrained, problem, nan_count),
        _target(problem),
        _overfit(untrained),
    )
    cause = next((cause for cause in causes if cause is not None), None)
    if cause is None:
        rate = f"{problem.settings.learning_rate:g}"
        cause = (
            f"Likely the learning rate ({rate}) or the length of the training."
            if learnable
            else "Likely the target: see whether it follows from the inputs, then look at the "
            f"learning rate ({rate}) and the length of the training."
        )
    return f"{cause}{others}"


def _data(problem: Problem) -> Data | BatchData:
    assert problem.loop_objective is not None, "nobody watches what a user's own training learns"
    return problem.loop_objective.data


def _scaling(problem: Problem) -> str | None:
    """Judge the scale of inputs and targets, where they come as a user's function gave them."""
    data, settings = _data(problem), problem.settings
    if isinstance(data, BatchData):
        return None
    inputs = data.train.inputs
    if inputs.is_floating_point() and (deviation := _far_deviation(inputs)) is not None:
        column = "a column of the inputs has" if deviation > 1 else "all columns of the inputs have"
        bound = "" if deviation > 1 else " or less"
        return (
            f"Likely the scaling: {column} a standard deviation of {deviation:.3g}{bound}, and the "
            f"learning rate ({settings.learning_rate:g}) is meant for about 1; standardise the "
            "inputs."
        )
    targets = data.train.targets
    if data.task == Task.REGRESSION and not data.target_scale:
        deviation = _far_deviation(targets.float())
        if deviation is not None:
            return (
                f"Likely the scaling: the targets, as the loss gets them, have a standard "
                f"deviation of {deviation:.3g}; divide them by it."
            )
    return None


def _far_deviation(values: Tensor) -> float | None:
    """Return the largest standard deviation of a column, if it is far from 1; else None.

    One column that hardly varies, such as a pixel at the edge of all images, keeps no network from
    learning by the others.
    """
    deviations = values.flatten(1).double().std(dim=0) if values.ndim > 1 else values.double().std()
    deviations = deviations.reshape(-1)
    deviations = deviations[deviations > 0]
    if len(deviations) == 0:
        return None
    largest = float(deviations.max())
    return None if 1 / SCALE <= largest <= SCALE else largest


def _learning_rate(untrained: Sequence[SlotRecord], problem: Problem, nan_count: int) -> str | None:
    """Judge by the training losses: no numbers, grown, or hardly moved."""
    rate = problem.settings.learning_rate
    if nan_count:
        return (
            f"Likely the learning rate: the loss of {nan_count} other "
            f"{'trial' if nan_count == 1 else 'trials'} became no number at {rate:g}; try a tenth."
        )
    results = [record.result or {} for record in untrained]
    ratios = [
        min(losses) / constant
        for result in results
        if (losses := result.get("losses")) and (constant := result.get("constant_loss"))
    ]
    if ratios and fmean(ratios) > EXPLODED:
        return (
            f"Likely the learning rate: at {rate:g} the training loss stayed at "
            f"{fmean(ratios):.3g} times that of a constant prediction or above; try a tenth."
        )
    moves = [_move(result) for result in results]
    known = [move for move in moves if move is not None]
    if known and max(move for move, _, _ in known) < STILL:
        _, first, last = known[0]
        return (
            f"Likely the learning rate: at {rate:g} the training loss hardly moved ({first:.4g} "
            f"→ {last:.4g}); try ten times the rate, or a longer training."
        )
    return None


def _move(result: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Return the relative change of a training loss, its first and its last value."""
    losses = result.get("losses") or []
    if len(losses) < 2 or losses[0] == 0:
        return None
    return (max(losses) - min(losses)) / abs(losses[0]), losses[0], losses[-1]


def _target(problem: Problem) -> str | None:
    """Judge whether one class is so common that the metric cannot tell anything."""
    data, metric = _data(problem), problem.objective.metric
    if isinstance(data, BatchData):
        return None
    if data.task != Task.CLASSIFICATION or metric.name != "accuracy" or not data.classes:
        return None
    numbers = data.class_numbers(data.train.targets)
    if numbers.ndim != 1:
        return None
    share, index = torch.bincount(numbers, minlength=len(data.classes)).max(dim=0)
    majority = float(share) / len(numbers)
    if majority < MAX_MAJORITY:
        return None
    return (
        f"Likely the target: {majority:.1%} of the rows are of class '{data.classes[int(index)]}', "
        'so that accuracy hardly tells networks apart; ask for metric = "balanced_accuracy" or '
        '"f1".'
    )


def _overfit(untrained: Sequence[SlotRecord]) -> str | None:
    """Judge whether the training rows were learnt, and nothing that holds for others."""
    ratios = [
        result["losses"][-1] / result["constant_loss"]
        for result in (record.result or {} for record in untrained)
        if result.get("losses") and result.get("constant_loss")
    ]
    if not ratios or max(ratios) >= FITTED:
        return None
    return (
        f"Likely the target: the training rows were learnt (their loss fell to {fmean(ratios):.2g} "
        "of a constant prediction's), but nothing that holds for other rows; see whether the "
        "target follows from the inputs, and whether there are rows enough."
    )


def _others(references: Mapping[str, Mapping[str, Any]], goal: Goal) -> tuple[str, bool]:
    """Return a sentence on other models on the same rows, and whether one of them has learned."""
    values = {
        name: value
        for name in ("constant", *_TITLES)
        if (value := references.get(name, {}).get("value")) is not None
    }
    constant = values.pop("constant", None)
    if not values or constant is None:
        return "", False
    figures = ", ".join(f"{_TITLES[name]} {value:.3g}" for name, value in values.items())
    learnable = any(goal.sign * (value - constant) > 0 for value in values.values())
    ending = "" if learnable else ", no better than the constant either"
    return f" On the same rows: {figures}{ending}.", learnable
