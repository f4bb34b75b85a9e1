"""Whether an engine gives the plain engine's networks: the largest difference in float64.

Entry points: `difference`, `TOLERANCE`; `training_of` and `members_of`, an engine's arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from widthwise.objectives.engines.base import Engine, Member, Training
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.loop import Candidate
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import weights_after

from .workloads import doubled

TOLERANCE = {"dense": 1e-9, "replay": 0.0, "stacked": 1e-9}
"""Largest difference that counts as equal: sums in another order, or none at all."""


def difference(
    engine: Engine,
    objective: ModuleObjective,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    device: torch.device,
) -> float:
    """Return the largest difference of a weight, statistic or output after all epochs.

    Args:
        engine: To compare with the plain one.
        objective: In float32; float64 is made of it.
        candidates: What to train.
        settings: How.
        device: Where.

    Raises:
        Unsuitable: The engine does not serve.
    """
    training = training_of(doubled(objective), settings, device)
    members = members_of(candidates, settings)
    mine, plain = (
        weights_after(one, training, members, settings.epochs) for one in (engine, PlainEngine())
    )
    gaps = [_gap(*pair) for pair in zip(mine[2], plain[2], strict=True)]
    for found, wanted in zip(mine[0], plain[0], strict=True):
        gaps += [_gap(found[name], wanted[name]) for name in wanted]
    return float(torch.stack(gaps).max())


def training_of(
    objective: ModuleObjective, settings: ProxySettings, device: torch.device
) -> Training:
    """Return what the members of a team have in common."""
    data = objective.data.to(device)
    return Training(objective=objective, data=data, settings=settings, device=device)


def members_of(candidates: Sequence[Candidate], settings: ProxySettings) -> list[Member]:
    """Return the networks to train, one a candidate."""
    return [
        Member(widths=one.widths, seed=one.seed, learning_rate=settings.learning_rate)
        for one in candidates
    ]


def _gap(mine: Tensor, plain: Tensor) -> Tensor:
    return (mine.double() - plain.double()).abs().max().cpu()
