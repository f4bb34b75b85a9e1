"""Builders of small models for tests."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.model.objective import ModuleObjective, make_objective

BASE = Path()
Widths = Mapping[str, int]

SMALL_WIDTHS, LARGE_WIDTHS = {"a": 4, "b": 4}, {"a": 32, "b": 16}


def custom_objective(build: Callable[[Widths], Any], data: Data, **options: Any) -> ModuleObjective:
    return make_objective(build=build, data=data, base=BASE, **options)


def two_layers(widths: Widths, outputs: int = 3) -> nn.Module:
    a, b = widths["a"], widths["b"]
    return nn.Sequential(
        nn.Linear(4, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, outputs)
    )
