"""Which engine trains a study's candidates here.

Entry point: `engine_for`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...objectives.data.batches import placed
from ...objectives.data.split import folds_of
from ...objectives.engines.base import Member, Training
from ...objectives.engines.choose import Choice, choose
from ...objectives.loop.train import resolve_device
from .problem import Problem
from .seeds import trial_seed


def engine_for(problem: Problem, slots: int) -> Choice:
    """The engine to train a study's open slots with.

    Args:
        problem: The study.
        slots: How many of its budget are not done.

    Raises:
        ModelError: The engine that the spec names cannot train these models.
    """
    settings, spec = problem.settings, problem.spec
    device = resolve_device(settings.device)
    candidates = [
        problem.space.as_mapping(problem.space.smallest()),
        *(baseline.widths for baseline in problem.proposer.baselines[:2]),
    ]

    def members(of: Sequence[Mapping[str, int]]) -> list[Member]:
        return [
            Member(
                widths=widths,
                seed=trial_seed(spec.study.seed, place),
                learning_rate=settings.learning_rate,
            )
            for place, widths in enumerate(of)
        ]

    each = settings.replicas * len(settings.rate_factors)
    rng = np.random.default_rng(spec.study.seed)
    pool = problem.feasible.pool(rng, problem.space.smallest()[None, :][:0])
    drawn = rng.choice(len(pool), size=min(len(pool), (spec.proxy.fixed_at_once or MOST) * each))
    data = folds_of(problem.objective.data, settings.folds)[0]
    return choose(
        Training(
            objective=replace(problem.objective, data=data),
            data=placed(data, device, settings.data_on),
            settings=settings,
            device=device,
            scaling=problem.scaling,
        ),
        members(candidates),
        trainings=slots * each * settings.folds,
        crowd=members([problem.space.as_mapping(pool[row]) for row in drawn]),
        wanted=spec.proxy.engine,
    )


MOST = 8
