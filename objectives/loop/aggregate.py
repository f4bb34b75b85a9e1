"""One candidate from its several trainings: folds and replicas are averaged, the best rate counts.

Entry points: `aggregate_members`; `promoted_candidates`, who goes on at a rung; `moot`, whose figures cannot
count any more.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch

from ..model.metrics import Metric
from ..training.settings import ProxySettings, TrainingOutcome, TrainingResult
from .candidate import CandidateState
from .member import MemberState

_FAILURE_PRECEDENCE: tuple[TrainingOutcome, ...] = ("out_of_memory", "nan")


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A candidate's trainings at its best learning rate.

    Attributes:
        outcome: Complete unless a training failed.
        score: Mean of the best metrics so far; None without one.
        latest: Mean of the metrics at the last stop; None without one.
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

    outcome: TrainingOutcome
    score: float | None
    latest: float | None
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


def aggregate_members(member_states: Sequence[MemberState], metric: Metric) -> Aggregate:
    """Return a candidate's figures.

    A rate at which one of its trainings fails counts for nothing: such a network cannot be relied
    on. Where every rate fails, the candidate does.

    Args:
        member_states: All trainings of one candidate; at least one.
        metric: Which of two scores is better.
    """
    states_by_rate: dict[float, list[MemberState]] = {}
    for member_state in member_states:
        states_by_rate.setdefault(member_state.member.learning_rate, []).append(member_state)
    best_states: list[MemberState] = []
    for rate_states in states_by_rate.values():
        score = _mean([member_state.score for member_state in rate_states])
        if score is not None and (
            not best_states
            or metric.better(score, _mean([member_state.score for member_state in best_states]))
        ):
            best_states = rate_states
    return _aggregate_states(best_states or _worst_failure(member_states), member_states)


def moot(member_states: Sequence[MemberState]) -> list[MemberState]:
    """Return the trainings that go on though they count for nothing any more.

    Those are all once the candidate's code raised, and otherwise those of a rate at which another
    training failed.

    Args:
        member_states: All trainings of one candidate.
    """
    raised = any(member_state.error is not None for member_state in member_states)
    failed = {
        member_state.member.learning_rate for member_state in member_states if member_state.failed
    }
    return [
        member_state
        for member_state in member_states
        if member_state.state == "running"
        and (raised or member_state.member.learning_rate in failed)
    ]


def promoted_candidates(
    scores: Mapping[int, float], other_scores: Sequence[float], eta: int, metric: Metric
) -> Collection[int]:
    """Return the candidates among the best 1/eta of all scores at a rung, ties included.

    Args:
        scores: Candidate to score.
        other_scores: Scores that other trials had there.
        eta: One in so many goes on; at least one does.
        metric: Which of two scores is better.
    """
    all_scores = sorted([*scores.values(), *other_scores], reverse=metric.direction == "maximize")
    if not all_scores:
        return ()
    threshold = all_scores[math.ceil(len(all_scores) / eta) - 1]
    return {index for index, score in scores.items() if not metric.better(threshold, score)}


def _aggregate_states(
    member_states: Sequence[MemberState], all_states: Sequence[MemberState]
) -> Aggregate:
    scores = [member_state.score for member_state in member_states]
    known_scores = [score for score in scores if score is not None]
    failed = next(
        (
            member_state
            for member_state in member_states
            if member_state.score is None and member_state.detail
        ),
        None,
    )
    peaks = [
        member_state.peak_memory
        for member_state in all_states
        if member_state.peak_memory is not None
    ]
    return Aggregate(
        outcome=_outcome(member_states),
        score=_mean(scores),
        latest=_mean([member_state.latest for member_state in member_states]),
        spread=stdev(known_scores) / math.sqrt(len(known_scores))
        if len(known_scores) == len(member_states) > 1
        else None,
        learning_rate=member_states[0].member.learning_rate,
        curve=_mean_curve([member_state.curve for member_state in member_states]),
        losses=_mean_curve([member_state.losses for member_state in member_states]),
        best_epoch=member_states[0].best_epoch,
        test_value=_mean([member_state.test_value for member_state in member_states]),
        parameters=max(member_state.parameters for member_state in member_states),
        peak_memory=max(peaks, default=None),
        detail=None if failed is None else failed.detail,
        error=next(
            (member_state.error for member_state in all_states if member_state.error is not None),
            None,
        ),
    )


def _worst_failure(member_states: Sequence[MemberState]) -> list[MemberState]:
    """Return the training that says why all of them came to nothing."""
    for state in ("error", *_FAILURE_PRECEDENCE):
        for member_state in member_states:
            if member_state.state == state:
                return [member_state]
    return [member_states[0]]


def _outcome(member_states: Sequence[MemberState]) -> TrainingOutcome:
    states = {member_state.state for member_state in member_states}
    return next((outcome for outcome in _FAILURE_PRECEDENCE if outcome in states), "complete")


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


def training_result(
    candidate_state: CandidateState,
    aggregate: Aggregate,
    settings: ProxySettings,
    *,
    metric: Metric,
    engines: Sequence[str],
    device: torch.device,
) -> TrainingResult | Exception | None:
    """Return what came of a candidate: None if it was given up, or what its code raised.

    Args:
        candidate_state: Its own.
        aggregate: Its trainings, merged.
        settings: Of all.
        metric: What it was judged by.
        engines: What trained it.
        device: Where.
    """
    if candidate_state.cancelled:
        return None
    if aggregate.error is not None:
        return aggregate.error
    pruned = candidate_state.pruned and aggregate.outcome == "complete"
    complete = aggregate.outcome == "complete" and not pruned
    rung_scores = dict(candidate_state.rung_scores)
    if complete and aggregate.score is not None:
        # One that ran out of patience has its score at all rungs that follow.
        rung_scores = dict.fromkeys(settings.rungs, aggregate.score) | rung_scores
    return TrainingResult(
        outcome="pruned" if pruned else aggregate.outcome,
        value=aggregate.score if complete else None,
        score=aggregate.score,
        fidelity=max(candidate_state.rung_scores) if pruned else float(settings.epochs),
        rung_scores=tuple(rung_scores.items()),
        test_value=aggregate.test_value if complete else None,
        best_epoch=aggregate.best_epoch if complete else None,
        epochs=len(aggregate.curve),
        curve=aggregate.curve,
        losses=aggregate.losses,
        spread=aggregate.spread if complete else None,
        learning_rate=aggregate.learning_rate,
        engine=", ".join(dict.fromkeys(engines)),
        seconds=candidate_state.seconds,
        device=str(device),
        parameters=aggregate.parameters,
        peak_memory=aggregate.peak_memory,
        detail=_pruned_detail(candidate_state, settings, metric) if pruned else aggregate.detail,
    )


def _pruned_detail(candidate_state: CandidateState, settings: ProxySettings, metric: Metric) -> str:
    assert settings.halving is not None, "only halving prunes"
    epochs = max(candidate_state.rung_scores)
    return (
        f"its {metric.name} of {candidate_state.rung_scores[epochs]:.4g} after {epochs:g} of {settings.epochs} "
        f"epochs is not among the best 1/{settings.halving.eta}"
    )
