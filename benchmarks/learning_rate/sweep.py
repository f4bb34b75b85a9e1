"""Trains perceptrons of several widths at several rates, and keeps what each came to.

Entry points: `Plan`, `FULL`, `QUICK`, `sweep`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import Literal

import numpy as np
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.metrics import METRICS
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.parametrisation.mup import derive_mup
from widthwise.objectives.parametrisation.standard import Parametrisation, StandardParametrisation
from widthwise.objectives.training.settings import ProxySettings

from .signals import CLASSES, signals

ParametrisationName = Literal["standard", "mup"]
PARAMETRISATIONS: tuple[ParametrisationName, ...] = ("standard", "mup")

CHANCE_LOSS = log(CLASSES)
"""Cross-entropy of knowing nothing: a training that did worse, or burst, counts as this."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained.

    Attributes:
        widths: Of both hidden layers.
        rates: log2 of the learning rates, ascending.
        seeds: Trainings of each.
        rows: Of the training split.
        epochs: Passes over it, judged after each.
        validation: Rows that judge.
        base: muP's base width; the study's own is 64 too.
    """

    widths: tuple[int, ...]
    rates: tuple[int, ...]
    seeds: int
    rows: int
    epochs: int
    validation: int = 5000
    base: int = 64


FULL = Plan(
    widths=(16, 32, 64, 128, 256, 512, 1024),
    rates=tuple(range(-11, -3)),
    seeds=5,
    rows=20_000,
    epochs=2,
)
QUICK = replace(FULL, widths=(16, 64, 256), seeds=2, rows=10_000, epochs=2)


def sweep(plan: Plan, parametrisation: ParametrisationName) -> np.ndarray:
    """Return the best validation cross-entropies, `[widths, rates, seeds]`."""
    data = signals(plan.rows, plan.validation, seed=0)
    objective = make_objective(
        family="mlp", data=data, metric=METRICS["cross_entropy"], base=Path()
    )
    scaling = _parametrisation(objective, plan.base, parametrisation)
    losses = np.full((len(plan.widths), len(plan.rates), plan.seeds), CHANCE_LOSS)
    for row, width in enumerate(plan.widths):
        for column, rate in enumerate(plan.rates):
            for seed in range(plan.seeds):
                value = _train(objective, scaling, plan, width, rate, seed)
                losses[row, column, seed] = min(CHANCE_LOSS, value)
        means = " ".join(f"{mean:.3f}" for mean in losses[row].mean(axis=1))
        print(f"{parametrisation:8s} width {width:5d}: {means}", file=sys.stderr, flush=True)
    return losses


def _train(
    objective: ModuleObjective,
    scaling: Parametrisation,
    plan: Plan,
    width: int,
    rate: int,
    seed: int,
) -> float:
    settings = ProxySettings(epochs=plan.epochs, patience=0, learning_rate=2.0**rate, device="cpu")
    result = train(
        objective, _hidden_widths(width, width), settings, seed=seed, parametrisation=scaling
    )
    return CHANCE_LOSS if result.value is None else result.value


def _parametrisation(
    objective: ModuleObjective, base: int, parametrisation: ParametrisationName
) -> Parametrisation:
    if parametrisation == "standard":
        return StandardParametrisation()
    probe_widths = (_hidden_widths(4 * base, base), _hidden_widths(base, 4 * base))
    return derive_mup(objective.build, _hidden_widths(base, base), probe_widths)


def _hidden_widths(first: int, second: int) -> dict[str, int]:
    return {"hidden1": first, "hidden2": second}
