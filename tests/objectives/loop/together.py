"""Trainings together, as tests start them, and networks for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.model.metrics import Metric
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.settings import Halving, ProxySettings
from widthwise.tests.objectives.engines.equality import family_objective, make_clusters

CPU = torch.device("cpu")
DATA = make_clusters(rows=40)
SHORT_SETTINGS = ProxySettings(
    epochs=3, batch_size=16, device="cpu", learning_rate=0.02, judge_test=True
)
MLP = family_objective("mlp", DATA, dropout=0.3, norm="batch")
Result = TrainingResult | Exception | None


def make_candidates(*widths: int, never_pruned: Collection[int] = ()) -> list[Candidate]:
    return [
        Candidate(widths={"a": width}, seed=100 + n, never_pruned=width in never_pruned)
        for n, width in enumerate(widths)
    ]


def train_results(
    objective: ModuleObjective,
    batch: Sequence[Candidate],
    settings: ProxySettings = SHORT_SETTINGS,
    **options: Any,
) -> list[Any]:
    """Results without the seconds, which differ from run to run."""
    return [
        without_seconds(result)
        for result in train_together(objective, batch, settings, device=CPU, **options)
    ]


def without_seconds(result: Result) -> Result:
    return replace(result, seconds=0.0) if isinstance(result, TrainingResult) else result


def custom_objective(
    build: Callable[[Mapping[str, int]], nn.Module], **options: Any
) -> ModuleObjective:
    return make_objective(build=build, data=DATA, base=Path(), **options)


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(7, width), nn.Tanh(), nn.Linear(width, 3)).double()


class WidthAsMetric(nn.Module):
    """A network that trains like any other, with its width as metric."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers, self.width = network(width), width

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out if self.training else torch.full_like(out, float(self.width))


def width_objective(direction: Any = "maximize") -> ModuleObjective:
    metric = Metric(name="width", direction=direction, function=lambda out, _: float(out.mean()))
    return custom_objective(lambda widths: WidthAsMetric(widths["a"]), metric=metric)


HALVING_SETTINGS = replace(SHORT_SETTINGS, epochs=9, patience=0, halving=Halving(eta=3, first=1.0))
