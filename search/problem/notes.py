"""What was recognised of a problem, in sentences for people.

Entry points: `problem_notes`, `predicted_time`.
"""

from __future__ import annotations

from ...objectives.cost.costs import count_costs
from ...objectives.cost.measure import measure_step
from ...objectives.data.dataset import Data
from ...objectives.data.streams.samples import sample_counts, steps_per_epoch
from ...objectives.data.streams.source import BatchData
from ...objectives.model.metrics import imbalance_note
from ...objectives.model.objective import ModuleObjective
from ...objectives.training.settings import resolve_device
from ..sampler.baselines import TODAY
from ..spec.device import device_kind
from ..units import format_duration, format_memory
from .build import counted_builder, step_spec
from .own_training import own_epochs
from .problem import Problem

_COST_SOURCES = {
    "polynomial": "costs are exact, traced for what is trained and by checked formulas for the "
    "others",
    "tracing": "costs are exact, each candidate's training step being traced",
    "given": "costs are what the spec's function says",
    "nothing": "nothing is known of their costs",
}


def problem_notes(problem: Problem) -> list[str]:
    """Return sentences about the data, the space, the costs and the training."""
    objective = problem.loop_objective
    if objective is None:
        return [f"{_candidates(problem)}; {_costs_note(problem)}", *_own_training_notes(problem)]
    return [
        *objective.data.notes,
        *_imbalance_note(objective),
        f"{_candidates(problem)}; {_costs_note(problem)}",
        *problem.cost_model.notes,
        _parametrisation_note(problem),
        _validation_note(problem, objective.data),
        _length_note(problem, objective.data),
        *_memory_note(problem),
        *_memory_for_note(problem),
    ]


def predicted_time(problem: Problem) -> list[str]:
    """Return a sentence on how long the search may take, for a model that is discovered.

    A step of today's model, or of the largest that fits, is trained and measured.
    """
    objective, settings = problem.loop_objective, problem.settings
    if objective is None or problem.spec.model.discover is None:
        return []
    today = problem.spec.references.get(TODAY)
    widths = dict(today) if isinstance(today, dict) else {}
    widths = widths or dict(problem.suggester.baselines[0].widths)
    step = step_spec(objective, settings)
    build, device = counted_builder(objective, step), resolve_device(settings.device)
    seconds = measure_step(lambda: build(widths), step, device).seconds
    steps = (
        settings.epochs
        * settings.splits
        * steps_per_epoch(objective.data, settings.folds, settings.batch_size, settings.train_share)
    )
    trials = problem.spec.study.trials
    model = "today's model" if isinstance(today, dict) else "the largest that fits"
    return [
        f"a training step of {model} took {format_duration(seconds)} here: at most "
        f"{_format_time(seconds * steps)} for a trial of that size, and "
        f"{_format_time(seconds * steps * trials)} for {trials:,} trials on one worker; smaller "
        "candidates, and trainings that end early, take less"
    ]


def _format_time(seconds: float) -> str:
    """Return a time that is waited for: seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:,.0f} h"


def _imbalance_note(objective: ModuleObjective) -> list[str]:
    data = objective.data
    note = None if isinstance(data, BatchData) else imbalance_note(objective.metric, data)
    return [] if note is None else [note]


def _costs_note(problem: Problem) -> str:
    return _COST_SOURCES[problem.cost_model.counted_by]


def _own_training_notes(problem: Problem) -> list[str]:
    """Return what is known of a training of the user's own: its metric, its length, its step."""
    metric, epochs = problem.objective.metric, own_epochs(problem.spec)
    length = "for as long as it takes" if epochs is None else f"for {epochs:,} epochs"
    step = (
        [
            f"costs are those of a step of AdamW on a batch of {problem.settings.batch_size:,}, "
            "with the sum of the outputs for a loss"
        ]
        if problem.cost_model.counted_by in ("polynomial", "tracing")
        else []
    )
    return [
        *problem.cost_model.notes,
        *step,
        f"trained by {problem.objective.name} {length}; {metric.name} is to {metric.direction}",
    ]


def _candidates(problem: Problem) -> str:
    """Return how many candidates there are, and what share of them keeps the limits."""
    count = f"{problem.space.size:,} candidates"
    if not problem.feasible.limits.names():
        return f"{count}, no limits"
    approximately = "" if problem.feasible.enumerated else "about "
    fraction = f"{problem.feasible.feasible_fraction:.1%}"
    return f"{count}, {approximately}{fraction} of them within the limits"


def _parametrisation_note(problem: Problem) -> str:
    rate_factors = problem.settings.rate_factors
    rates_note = (
        ""
        if rate_factors == (1.0,)
        else f" Each candidate is tried with {len(rate_factors)} rates."
    )
    return f"{problem.parametrisation.describe()}{rates_note}"


def _validation_note(problem: Problem, data: Data | BatchData) -> str:
    settings = problem.settings
    train, validation = sample_counts(data)
    if isinstance(data, BatchData):
        return (
            f"validated on {validation:,} samples of their own, trained on {train:,} in batches of "
            f'{data.batch_size:,}; engine "plain", as the data comes in batches'
        )
    if settings.folds == 1:
        return f"validated on {validation:,} rows of their own, trained on {train:,}"
    repeats = f"{settings.repeats} × " if settings.repeats > 1 else ""
    each = "once" if settings.repeats == 1 else f"{settings.repeats} times"
    why = " (few rows)" if problem.spec.proxy.folds is None else ""
    return (
        f"validated by {repeats}{settings.folds} folds of {train + validation:,} rows{why}: "
        f"{settings.splits} trainings a candidate, each row validates {each}"
    )


def _length_note(problem: Problem, data: Data | BatchData) -> str:
    settings = problem.settings
    steps = steps_per_epoch(data, settings.folds, settings.batch_size, settings.train_share)
    longest = f"trained for up to {settings.epochs * steps:,} steps ({settings.epochs:,} epochs)"
    if not 0 < settings.patience < settings.epochs:
        return f"{longest}, to the end"
    least = f", at least {settings.min_epochs * steps:,}" if settings.min_epochs else ""
    return (
        f"{longest}{least}, until {settings.patience * steps:,} steps bring no better validation "
        "loss"
    )


def _memory_note(problem: Problem) -> list[str]:
    """Compare a baseline's measured step with its prediction, on a GPU, where that is estimated."""
    if device_kind(problem.settings.device) != "cuda" or not problem.suggester.baselines:
        return []
    baseline = problem.suggester.baselines[0]
    predicted = problem.exact_costs(baseline.widths).get("train_memory")
    if predicted is None:
        return []
    step = step_spec(problem.objective, problem.settings)
    device = resolve_device(problem.settings.device)
    build = counted_builder(problem.objective, step)
    measured = measure_step(lambda: build(baseline.widths), step, device)
    ratio = measured.train_memory / predicted
    advice = "" if ratio <= 1 else "; set a train_memory limit lower by as much"
    return [
        f"training memory of “{baseline.name}” on this GPU: predicted "
        f"{format_memory(predicted)}, measured {ratio:.0%} of it{advice}"
    ]


def _memory_for_note(problem: Problem) -> list[str]:
    """Say where memory is counted for another device than the one that is trained on."""
    trained_on, counted = device_kind(problem.spec.proxy.device), problem.spec.memory_device
    memory_for = problem.spec.limits.memory_for
    if memory_for is None or counted == trained_on or not problem.suggester.baselines:
        return []
    baseline = problem.suggester.baselines[0]
    predicted = problem.exact_costs(baseline.widths).get("train_memory")
    if predicted is None or problem.spec.model.costs is not None:
        return []
    step = step_spec(problem.objective, problem.settings)
    build = counted_builder(problem.objective, step)
    here = count_costs(lambda: build(baseline.widths), step).train_memory
    return [
        f'memory is judged for "{memory_for}" (limits.memory_for), and trained on {trained_on}: '
        f"“{baseline.name}” takes {format_memory(predicted)} there, {format_memory(here)} here"
    ]
