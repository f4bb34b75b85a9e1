"""Members, data and engines for stacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from widthwise.objectives.engines.base import Member, TrainingSetup
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import CPU, make_clusters

FLAT = make_clusters()
IMAGES = make_clusters(shape=(2, 6, 6), rows=50)
SHORT_SETTINGS = ProxySettings(epochs=2, batch_size=16, weight_decay=0.1, judge_test=True)


def single_stack_engine(**options: Any) -> StackedEngine:
    """The engine that pads whatever it can."""
    return StackedEngine(overhead_macs=math.inf, **options)


def members(*widths: tuple[int, ...], rates: tuple[float, ...] = (0.01, 0.003)) -> list[Member]:
    return [
        Member(
            widths=dict(zip("abc", widths_, strict=False)),
            seed=7 * n,
            learning_rate=rates[n % len(rates)],
        )
        for n, widths_ in enumerate(widths)
    ]


def training(objective: ModuleObjective, proxy: ProxySettings = SHORT_SETTINGS) -> TrainingSetup:
    return TrainingSetup(objective=objective, data=objective.data, settings=proxy, device=CPU)


def with_builder(
    objective: ModuleObjective, wrap: Callable[[nn.Module, Mapping[str, int]], nn.Module]
) -> ModuleObjective:
    return replace(objective, builder=lambda widths: wrap(objective.builder(widths), widths))
