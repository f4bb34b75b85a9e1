"""Workloads: families of networks, distributions of widths, and data.

Entry points: `Workload`, `workloads`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import log
from pathlib import Path

import numpy as np
import torch
from torch import nn
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.data.load import load_data
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.model.objective import ModuleObjective, make_objective

from benchmarks.learning_rate.signals import SIGNAL_LENGTH, signals

from .transformer import build_transformer

TRAIN_ROWS, VALIDATION_ROWS = 3200, 800
"""Rows of the training and of the validation split of generated signals."""

WidthDraw = Callable[[np.random.Generator], int]
"""One width at random."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A family of networks with a distribution of widths.

    Attributes:
        family: What people call the networks.
        widths: What people call the distribution of their widths.
        width_draws: Width to how it is drawn.
        objective: Model, data and loss, in float32.
        heavy: Whether a training takes so long that fewer candidates are trained.
    """

    family: str
    widths: str
    width_draws: Mapping[str, WidthDraw]
    objective: ModuleObjective
    heavy: bool = False

    def candidates(self, count: int, seed: int = 0) -> list[Candidate]:
        """Return so many different candidates, with training seeds of their own."""
        rng = np.random.default_rng(seed)
        drawn_widths: dict[tuple[int, ...], None] = {}
        while len(drawn_widths) < count:
            drawn_widths[tuple(draw(rng) for draw in self.width_draws.values())] = None
        return [
            Candidate(
                widths=dict(zip(self.width_draws, widths, strict=True)), seed=1000 * seed + index
            )
            for index, widths in enumerate(drawn_widths)
        ]


def workloads(rows: int = TRAIN_ROWS) -> list[Workload]:
    """Return the workloads whose speed is measured.

    Args:
        rows: Most rows in a training split.
    """
    data = signals(rows, VALIDATION_ROWS, seed=0)
    digits = load_data("digits", base=Path(), image=True, seed=0)
    images = _first_rows(digits, rows, rows // (TRAIN_ROWS // VALIDATION_ROWS))
    small_data = _first_rows(data, len(images.train), len(images.validation))
    regularised_options = {"norm": "batch", "dropout": 0.2, "activation": "gelu"}
    return [
        mlp("8-256 log-uniform", log_uniform(8, 256), data),
        mlp("8-256 uniform", uniform(8, 256), data),
        mlp("8-64 log-uniform", log_uniform(8, 64), data),
        mlp("8-64 uniform", uniform(8, 64), data),
        replace(
            mlp("8-256 log-uniform", log_uniform(8, 256), data, **regularised_options),
            family="mlp, batch norm, gelu, dropout",
        ),
        Workload(
            family="cnn",
            widths="8-64 log-uniform",
            width_draws={f"channels{n}": log_uniform(8, 64) for n in (1, 2, 3)},
            objective=make_objective(family="cnn", data=images, base=Path()),
            heavy=True,
        ),
        Workload(
            family="transformer",
            widths="model 16-64, heads 2-8, feed_forward 16-128",
            width_draws={
                "model": uniform(16, 64, step=8),
                "heads": uniform(2, 8),
                "feed_forward": uniform(16, 128, step=8),
            },
            objective=make_objective(
                build=partial(build_transformer, points=SIGNAL_LENGTH, outputs=small_data.outputs),
                data=small_data,
                base=Path(),
            ),
            heavy=True,
        ),
    ]


def mlp(widths: str, draw: WidthDraw, data: Data, **options: object) -> Workload:
    """Return perceptrons of two hidden layers."""
    return Workload(
        family="mlp",
        widths=widths,
        width_draws={"hidden1": draw, "hidden2": draw},
        objective=make_objective(family="mlp", options=options, data=data, base=Path()),
    )


def uniform(low: int, high: int, step: int = 1) -> WidthDraw:
    """Return a draw of whole numbers, all equally likely."""
    return lambda rng: int(rng.integers(low // step, high // step, endpoint=True)) * step


def log_uniform(low: int, high: int) -> WidthDraw:
    """Return a draw of whole numbers, every octave equally likely."""
    return lambda rng: round(np.exp(rng.uniform(log(low), log(high))))


def _first_rows(data: Data, rows: int, validation_rows: int) -> Data:
    """Return the first rows of the training and of the validation split."""
    train, validation = (
        Split(inputs=split.inputs[:number], targets=split.targets[:number])
        for split, number in ((data.train, rows), (data.validation, validation_rows))
    )
    return replace(data, train=train, validation=validation)


def as_float64(objective: ModuleObjective) -> ModuleObjective:
    """Return an objective in float64, with the weights that it would have in float32."""

    def build(widths: Mapping[str, int]) -> nn.Module:
        return objective.builder(widths).double()

    def split(data_split: Split) -> Split:
        targets = (
            data_split.targets.double()
            if data_split.targets.is_floating_point()
            else data_split.targets
        )
        return Split(inputs=data_split.inputs.to(torch.float64), targets=targets)

    data = objective.data
    return replace(
        objective,
        builder=build,
        data=replace(
            data,
            train=split(data.train),
            validation=split(data.validation),
            test=split(data.test),
        ),
    )
