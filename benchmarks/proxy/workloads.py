"""What is trained: families, the widths that candidates are drawn from, and data.

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
from widthwise.objectives.loop.loop import Candidate
from widthwise.objectives.model.objective import ModuleObjective, make_objective

from benchmarks.learning_rate.signals import POINTS, signals

from .transformer import build_transformer

ROWS, JUDGING = 3200, 800
"""Rows of the training and of the validation split of generated signals."""

Draw = Callable[[np.random.Generator], int]
"""One width at random."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A kind of network to train many of.

    Attributes:
        family: What people call the networks.
        widths: What people call the distribution of their widths.
        draws: Width to how it is drawn.
        objective: Model, data and loss, in float32.
        heavy: Whether a training takes so long that fewer of them have to do.
    """

    family: str
    widths: str
    draws: Mapping[str, Draw]
    objective: ModuleObjective
    heavy: bool = False

    def candidates(self, number: int, seed: int = 0) -> list[Candidate]:
        """Return so many different candidates, with training seeds of their own."""
        random = np.random.default_rng(seed)
        found: dict[tuple[int, ...], None] = {}
        while len(found) < number:
            found[tuple(draw(random) for draw in self.draws.values())] = None
        return [
            Candidate(widths=dict(zip(self.draws, widths, strict=True)), seed=1000 * seed + place)
            for place, widths in enumerate(found)
        ]


def workloads(rows: int = ROWS) -> list[Workload]:
    """Return what the speed is measured on.

    Args:
        rows: Most in a training split.
    """
    data = signals(rows, JUDGING, seed=0)
    digits = load_data("digits", base=Path(), image=True, seed=0)
    images = _first(digits, rows, rows // (ROWS // JUDGING))
    few = _first(data, len(images.train), len(images.validation))
    noisy = {"norm": "batch", "dropout": 0.2, "activation": "gelu"}
    return [
        mlp("8-256 log-uniform", log_uniform(8, 256), data),
        mlp("8-256 uniform", uniform(8, 256), data),
        mlp("8-64 log-uniform", log_uniform(8, 64), data),
        mlp("8-64 uniform", uniform(8, 64), data),
        replace(
            mlp("8-256 log-uniform", log_uniform(8, 256), data, **noisy),
            family="mlp, batch norm, gelu, dropout",
        ),
        Workload(
            family="cnn",
            widths="8-64 log-uniform",
            draws={f"channels{n}": log_uniform(8, 64) for n in (1, 2, 3)},
            objective=make_objective(family="cnn", data=images, base=Path()),
            heavy=True,
        ),
        Workload(
            family="transformer",
            widths="model 16-64, heads 2-8, feed_forward 16-128",
            draws={
                "model": uniform(16, 64, step=8),
                "heads": uniform(2, 8),
                "feed_forward": uniform(16, 128, step=8),
            },
            objective=make_objective(
                build=partial(build_transformer, points=POINTS, outputs=few.outputs),
                data=few,
                base=Path(),
            ),
            heavy=True,
        ),
    ]


def mlp(widths: str, draw: Draw, data: Data, **options: object) -> Workload:
    """Return perceptrons of two hidden layers."""
    return Workload(
        family="mlp",
        widths=widths,
        draws={"hidden1": draw, "hidden2": draw},
        objective=make_objective(family="mlp", options=options, data=data, base=Path()),
    )


def uniform(low: int, high: int, step: int = 1) -> Draw:
    """Return a draw of whole numbers, all equally likely."""
    return lambda random: int(random.integers(low // step, high // step, endpoint=True)) * step


def log_uniform(low: int, high: int) -> Draw:
    """Return a draw of whole numbers, every octave equally likely."""
    return lambda random: round(np.exp(random.uniform(log(low), log(high))))


def _first(data: Data, rows: int, judging: int) -> Data:
    """Return the first rows of the training and of the validation split."""
    train, validation = (
        Split(inputs=split.inputs[:number], targets=split.targets[:number])
        for split, number in ((data.train, rows), (data.validation, judging))
    )
    return replace(data, train=train, validation=validation)


def doubled(objective: ModuleObjective) -> ModuleObjective:
    """Return an objective in float64, with the weights that it would have in float32."""

    def build(widths: Mapping[str, int]) -> nn.Module:
        return objective.builder(widths).double()

    def split(one: Split) -> Split:
        targets = one.targets.double() if one.targets.is_floating_point() else one.targets
        return Split(inputs=one.inputs.to(torch.float64), targets=targets)

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
