"""The recommended network itself, trained again: a study keeps figures, and no weights.

Entry points: `train_network`, `untrained_network`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ...objectives.engines.plain import PlainEngine
from ...objectives.loop.result import TrainingOutcome
from ...objectives.loop.train import train
from ...objectives.own_training.own_training import OwnTraining
from ...objectives.randomness import Randomness
from ..errors import SearchError
from ..fleet.in_process import process_settings_kept

if TYPE_CHECKING:
    from torch import nn

    from ..problem.problem import Problem


def untrained_network(problem: Problem, widths: Mapping[str, int], seed: int) -> nn.Module:
    """Return a fresh network of these widths on the CPU, in eval mode.

    Raises:
        SearchError: The training is the user's own, and names no builder.
    """
    objective = problem.objective
    if isinstance(objective, OwnTraining) and objective.builder is None:
        raise SearchError(
            f"the networks are made by {objective.name}, and no build is named that makes one: "
            "make it there, with `.widths`"
        )
    with Randomness(seed, torch.device("cpu")):
        model = objective.build(widths)
    return model.cpu().eval()


def train_network(
    problem: Problem,
    widths: Mapping[str, int],
    seed: int,
    changes: Mapping[str, Any],
    *,
    threads: int = 1,
) -> nn.Module:
    """Train a network on the training rows, judged by the validation rows; return its best epoch.

    Args:
        problem: What was searched.
        widths: Of the network.
        seed: Of initial weights and order of the rows.
        changes: Keys of the spec, with dots, that the training has otherwise than the search.
        threads: CPU threads of the training, as the search had; torch's own number stays.

    Returns:
        The network on the CPU, in eval mode.

    Raises:
        SearchError: The training ended without a network: out of memory, or not finite; or it is
            the user's own, which alone knows its network.
    """
    if problem.loop_objective is None:
        raise SearchError(
            f"the networks are trained by {problem.objective.name}, which keeps them to itself: "
            "call it with `.widths`, or take `.model(trained=False)` where a build is named"
        )
    # One training, on the rows of the split: folds would be a network each.
    once = {"proxy.folds": 1, "proxy.repeats": 1, "proxy.replicas": 1, "proxy.halving": None}
    with process_settings_kept():
        torch.set_num_threads(threads)
        variant = problem.variant({**once, **changes})
        factors, base_rate = variant.settings.rate_factors, variant.settings.learning_rate
        if len(factors) > 1:
            rate = _train(variant, widths, seed)[1]
            best = min(factors, key=lambda factor: abs(factor * base_rate - rate))
            variant = problem.variant({**once, **changes, "proxy.rate_factors": [best]})
        return _train(variant, widths, seed)[0]


def _train(problem: Problem, widths: Mapping[str, int], seed: int) -> tuple[nn.Module, float]:
    """Return the trained network, and its learning rate."""
    objective = problem.loop_objective
    assert objective is not None, "the user's own training was refused"
    built: list[nn.Module] = []

    def build(candidate: Mapping[str, int]) -> nn.Module:
        built.append(objective.builder(candidate))
        return built[-1]

    result = train(
        replace(objective, builder=build),
        widths,
        problem.settings,
        seed=seed,
        engine=PlainEngine(),
        parametrisation=problem.parametrisation,
    )
    if result.outcome is not TrainingOutcome.COMPLETE:
        raise SearchError(
            f"the network of {dict(widths)} could not be trained: {result.outcome}"
            f"{'' if result.detail is None else f' ({result.detail})'}; `.model(trained=False)` "
            "returns it untrained"
        )
    # A fresh one: the trained one has the dropout layers that the training put in.
    model = untrained_network(problem, widths, seed)
    model.load_state_dict(built[-1].state_dict())
    assert result.learning_rate is not None, "the loop's trainings have one"
    return model, result.learning_rate
