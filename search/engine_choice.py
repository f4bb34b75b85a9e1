"""Which engine trains a study's candidates here.

Entry point: `engine_for`.
"""

from __future__ import annotations

from dataclasses import replace

from ..objectives.engines.base import Member, Training
from ..objectives.engines.choose import Choice, choose
from ..objectives.folds import folds_of
from ..objectives.train import resolve_device
from .pace import MOST
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
    samples = [
        Member(
            widths=widths,
            seed=trial_seed(spec.study.seed, place),
            learning_rate=settings.learning_rate,
        )
        for place, widths in enumerate(candidates)
    ]
    each = settings.replicas * len(settings.rate_factors)
    data = folds_of(problem.objective.data, settings.folds)[0]
    return choose(
        Training(
            objective=replace(problem.objective, data=data),
            data=data.to(device),
            settings=settings,
            device=device,
            scaling=problem.scaling,
        ),
        samples,
        trainings=slots * each * settings.folds,
        together=(spec.proxy.fixed_at_once or MOST) * each,
        wanted=spec.proxy.engine,
    )
