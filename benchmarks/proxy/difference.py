"""How far an engine's networks are from the plain engine's: the largest difference in float64.

Entry points: `max_difference`; `make_training` and `make_members`, an engine's arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from widthwise.objectives.engines.base import Engine, Member, TrainingSetup
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import train_epochs

from .workloads import as_float64


def max_difference(
    engine: Engine,
    objective: ModuleObjective,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    device: torch.device,
) -> float:
    """Return the largest difference of a weight, statistic or output after all epochs.

    Args:
        engine: The engine to compare with the plain one.
        objective: In float32; trained in float64.
        candidates: What to train.
        settings: How to train.
        device: Where to train.

    Raises:
        EngineUnsupported: The engine cannot train these networks.
    """
    training = make_training(as_float64(objective), settings, device)
    members = make_members(candidates, settings)
    engine_state, plain_state = (
        train_epochs(compared_engine, training, members, settings.epochs)
        for compared_engine in (engine, PlainEngine())
    )
    differences = [
        _max_abs_difference(*pair) for pair in zip(engine_state[2], plain_state[2], strict=True)
    ]
    for weights, plain_weights in zip(engine_state[0], plain_state[0], strict=True):
        differences += [
            _max_abs_difference(weights[name], plain_weights[name]) for name in plain_weights
        ]
    return float(torch.stack(differences).max())


def make_training(
    objective: ModuleObjective, settings: ProxySettings, device: torch.device
) -> TrainingSetup:
    """Return what the members of a session have in common."""
    data = objective.data.to(device)
    return TrainingSetup(objective=objective, data=data, settings=settings, device=device)


def make_members(candidates: Sequence[Candidate], settings: ProxySettings) -> list[Member]:
    """Return the networks to train, one a candidate."""
    return [
        Member(widths=candidate.widths, seed=candidate.seed, learning_rate=settings.learning_rate)
        for candidate in candidates
    ]


def _max_abs_difference(actual: Tensor, expected: Tensor) -> Tensor:
    return (actual.double() - expected.double()).abs().max().cpu()
