"""Which engine trains a study's candidates here.

Entry point: `select_engine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...objectives.data.batches import place_data
from ...objectives.data.split import make_folds, take_share
from ...objectives.data.streams.source import BatchData
from ...objectives.engines.base import Member, TrainingSetup
from ...objectives.engines.choose import EngineChoice, choose_engine
from ...objectives.engines.plain import PlainEngine
from ...objectives.training.settings import resolve_device
from .problem import Problem
from .seeds import trial_seed

MAX_CLAIM_SIZE = 8
"""Most candidates that a worker claims at once where the spec does not say."""

_OWN_TRAINING_NOTE = "trained by the function of the spec, one candidate after the other"

_BATCHES_NOTE = "engine 'plain': the data comes in batches"


def select_engine(problem: Problem, open_slots: int) -> EngineChoice:
    """Return the engine to train a study's open slots with.

    Args:
        problem: The study.
        open_slots: How many of its budget are not done.

    Raises:
        ModelError: The engine that the spec names cannot train these models.
    """
    settings, spec, objective = problem.settings, problem.spec, problem.loop_objective
    if objective is None:
        return EngineChoice(engine=PlainEngine(), reason=_OWN_TRAINING_NOTE)
    if isinstance(objective.data, BatchData):
        return EngineChoice(engine=PlainEngine(), reason=_BATCHES_NOTE)
    device = resolve_device(settings.device)
    samples = [
        problem.space.as_mapping(problem.space.smallest()),
        *(baseline.widths for baseline in problem.suggester.baselines[:2]),
    ]

    def make_members(widths_list: Sequence[Mapping[str, int]]) -> list[Member]:
        return [
            Member(
                widths=widths,
                seed=trial_seed(spec.study.seed, index),
                learning_rate=settings.learning_rate,
            )
            for index, widths in enumerate(widths_list)
        ]

    trainings_per_candidate = settings.replicas * len(settings.rate_factors)
    rng = np.random.default_rng(spec.study.seed)
    candidate_pool = problem.feasible.candidate_pool(rng, problem.space.smallest()[None, :][:0])
    sampled_rows = rng.choice(
        len(candidate_pool),
        size=min(
            len(candidate_pool),
            (spec.proxy.fixed_claim_size or MAX_CLAIM_SIZE) * trainings_per_candidate,
        ),
    )
    fold = make_folds(objective.data, settings.folds)[0]
    data = take_share(fold, settings.train_share)
    return choose_engine(
        TrainingSetup(
            objective=replace(objective, data=data),
            data=place_data(data, device, settings.data_on),
            settings=settings,
            device=device,
            parametrisation=problem.parametrisation,
        ),
        make_members(samples),
        training_count=open_slots * settings.trainings,
        stack_samples=make_members(
            [problem.space.as_mapping(candidate_pool[index]) for index in sampled_rows]
        ),
        requested=spec.proxy.engine,
    )
