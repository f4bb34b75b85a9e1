"""One candidate from its several trainings: folds and replicas are averaged, the best rate counts.

Entry points: `merged`; `better_share`, who goes on at a rung; `hopeless`, whose figures cannot
count any more.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch

from ..model.metrics import Metric
from ..training.settings import Outcome, ProxySettings, TrainingResult
from .candidate import Story
from .member import Course

_WORST_FIRST: tuple[Outcome, ...] = ("out_of_memory", "nan")


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A candidate's trainings at its best learning rate.

    Attributes:
        outcome: Complete unless a training failed.
        score: Mean of the best metrics so far; None without one.
        present: Mean of the metrics at the last stop; None without one.
        spread: Standard error of the score; None for one training.
        learning_rate: The rate that counts: the one with the best score.
        curve: Mean metric by epoch, those that stopped earlier standing with their last.
        losses: Mean training loss by epoch, likewise.
        best_epoch: Of the first training.
        test_value: Mean test metric; None where one has none.
        parameters: Of the network.
        peak_memory: The most that any training held on a GPU, where that was measured.
        detail: What went wrong.
        error: What its code raised.
    """

    outcome: Outcome
    score: float | None
    present: float | None
    spread: float | None
    learning_rate: float
    curve: tuple[float, ...]
    losses: tuple[float, ...]
    best_epoch: int
    test_value: float | None
    parameters: int
    peak_memory: int | None
    detail: str | None
    error: Exception | None


def merged(courses: Sequence[Course], metric: Metric) -> Merged:
    """Return a candidate's figures.

    A rate at which one of its trainings fails counts for nothing: such a network cannot be relied
    on. Where every rate fails, the candidate does.

    Args:
        courses: All trainings of one candidate; at least one.
        metric: Which of two scores is better.
    """
    by_rate: dict[float, list[Course]] = {}
    for course in courses:
        by_rate.setdefault(course.member.learning_rate, []).append(course)
    best: list[Course] = []
    for rate in by_rate.values():
        score = _mean([one.score for one in rate])
        if score is not None and (not best or metric.better(score, _mean([c.score for c in best]))):
            best = rate
    return _figures(best or _failed(courses), courses)


def hopeless(courses: Sequence[Course]) -> list[Course]:
    """Return the trainings that go on though they count for nothing any more.

    Those are all once the candidate's code raised, and otherwise those of a rate at which another
    training failed.

    Args:
        courses: All trainings of one candidate.
    """
    raised = any(one.error is not None for one in courses)
    failed = {one.member.learning_rate for one in courses if one.failed}
    return [
        one
        for one in courses
        if one.state == "running" and (raised or one.member.learning_rate in failed)
    ]


def better_share(
    scores: Mapping[int, float], earlier: Sequence[float], eta: int, metric: Metric
) -> Collection[int]:
    """Return the candidates among the best 1/eta of all scores at a rung, ties included.

    Args:
        scores: Candidate to score.
        earlier: Scores that other trials had there.
        eta: One in so many goes on; at least one does.
        metric: Which of two scores is better.
    """
    everyone = sorted([*scores.values(), *earlier], reverse=metric.direction == "maximize")
    if not everyone:
        return ()
    last = everyone[math.ceil(len(everyone) / eta) - 1]
    return {place for place, score in scores.items() if not metric.better(last, score)}


def _figures(courses: Sequence[Course], everyone: Sequence[Course]) -> Merged:
    scores = [one.score for one in courses]
    known = [score for score in scores if score is not None]
    failed = next((one for one in courses if one.score is None and one.detail), None)
    memory = [one.peak_memory for one in everyone if one.peak_memory is not None]
    return Merged(
        outcome=_outcome(courses),
        score=_mean(scores),
        present=_mean([one.present for one in courses]),
        spread=stdev(known) / math.sqrt(len(known)) if len(known) == len(courses) > 1 else None,
        learning_rate=courses[0].member.learning_rate,
        curve=_mean_curve([one.curve for one in courses]),
        losses=_mean_curve([one.losses for one in courses]),
        best_epoch=courses[0].best_epoch,
        test_value=_mean([one.test_value for one in courses]),
        parameters=max(one.parameters for one in courses),
        peak_memory=max(memory, default=None),
        detail=None if failed is None else failed.detail,
        error=next((one.error for one in everyone if one.error is not None), None),
    )


def _failed(courses: Sequence[Course]) -> list[Course]:
    """Return the training that says why all of them came to nothing."""
    for state in ("error", *_WORST_FIRST):
        for course in courses:
            if course.state == state:
                return [course]
    return [courses[0]]


def _outcome(courses: Sequence[Course]) -> Outcome:
    states = {course.state for course in courses}
    return next((outcome for outcome in _WORST_FIRST if outcome in states), "complete")


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None where one is missing. One value is returned as it is."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return known[0] if len(known) == 1 else fmean(known)


def _mean_curve(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    if len(curves) == 1:
        return tuple(curves[0])
    length = max(map(len, curves))
    return tuple(
        fmean(curve[min(epoch, len(curve) - 1)] for curve in curves if curve)
        for epoch in range(length)
    )


def result_of(
    story: Story,
    found: Merged,
    settings: ProxySettings,
    *,
    metric: Metric,
    engines: Sequence[str],
    device: torch.device,
) -> TrainingResult | Exception | None:
    """Return what came of a candidate: None if it was given up, or what its code raised.

    Args:
        story: Its own.
        found: Its trainings, merged.
        settings: Of all.
        metric: What it was judged by.
        engines: What trained it.
        device: Where.
    """
    if story.given_up:
        return None
    if found.error is not None:
        return found.error
    pruned = story.pruned and found.outcome == "complete"
    complete = found.outcome == "complete" and not pruned
    rungs = dict(story.rungs)
    if complete and found.score is not None:
        # One that ran out of patience has its score at all rungs that follow.
        rungs = dict.fromkeys(settings.rungs, found.score) | rungs
    return TrainingResult(
        outcome="pruned" if pruned else found.outcome,
        value=found.score if complete else None,
        score=found.score,
        fidelity=max(story.rungs) if pruned else float(settings.epochs),
        rungs=tuple(rungs.items()),
        test_value=found.test_value if complete else None,
        best_epoch=found.best_epoch if complete else None,
        epochs=len(found.curve),
        curve=found.curve,
        losses=found.losses,
        spread=found.spread if complete else None,
        learning_rate=found.learning_rate,
        engine=", ".join(dict.fromkeys(engines)),
        seconds=story.seconds,
        device=str(device),
        parameters=found.parameters,
        peak_memory=found.peak_memory,
        detail=_fell_behind(story, settings, metric) if pruned else found.detail,
    )


def _fell_behind(story: Story, settings: ProxySettings, metric: Metric) -> str:
    assert settings.halving is not None, "only halving prunes"
    epochs = max(story.rungs)
    return (
        f"its {metric.name} of {story.rungs[epochs]:.4g} after {epochs:g} of {settings.epochs} "
        f"epochs is not among the best 1/{settings.halving.eta}"
    )
