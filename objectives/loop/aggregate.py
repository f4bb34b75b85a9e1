"""One candidate from its members: folds and replicas are averaged, the best learning rate counts.

Entry points: `best_members`, whose mean is the candidate's; `moot`, whose figures cannot count any
more; `promoted_candidates`, who goes on at a rung; `training_result`.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, stdev

import torch

from ..model.metrics import Metric
from ..training.settings import ProxySettings
from .candidate import CandidateState
from .member import MemberState, MemberStatus
from .result import TrainingOutcome, TrainingResult

_FAILED_OUTCOMES = {
    MemberStatus.OUT_OF_MEMORY: TrainingOutcome.OUT_OF_MEMORY,
    MemberStatus.NAN: TrainingOutcome.NAN,
}
"""Statuses of members that fail their candidate, those that count before others first."""


def best_members(members: Sequence[MemberState], metric: Metric) -> list[MemberState]:
    """Return a candidate's members at its best learning rate.

    A rate at which one of the members fails counts for nothing: such a network cannot be relied on.
    Where every rate fails, the one member is returned that says why.

    Args:
        members: All members of one candidate; at least one.
        metric: Which of two scores is better.
    """
    by_rate: dict[float, list[MemberState]] = {}
    for member in members:
        by_rate.setdefault(member.member.learning_rate, []).append(member)
    best: list[MemberState] = []
    best_score: float | None = None
    for rate_members in by_rate.values():
        score = mean_score(rate_members)
        if score is not None and metric.better(score, best_score):
            best, best_score = rate_members, score
    return best or [_worst_failure(members)]


def mean_score(members: Sequence[MemberState]) -> float | None:
    """Return the mean of the members' best metrics so far; None where one has none."""
    return _mean([member.score for member in members])


def mean_latest(members: Sequence[MemberState]) -> float | None:
    """Return the mean of the members' metrics at the last milestone; None where one has none."""
    return _mean([member.latest for member in members])


def latest_figures(members: Sequence[MemberState], metric: Metric) -> dict[str, float]:
    """Return the members' mean metric and losses at the last milestone, those that all have."""
    latest = {
        metric.key: mean_latest(members),
        "loss": _mean([_last(member.losses) for member in members]),
        "validation_loss": _mean([_last(member.validation_losses) for member in members]),
    }
    return {name: value for name, value in latest.items() if value is not None}


def first_error(members: Sequence[MemberState]) -> Exception | None:
    """Return what the code of a candidate raised in one of its members."""
    return next((member.error for member in members if member.error is not None), None)


def outcome_of(members: Sequence[MemberState]) -> TrainingOutcome:
    """Return complete, or how one of the members failed."""
    statuses = {member.status for member in members}
    return next(
        (outcome for status, outcome in _FAILED_OUTCOMES.items() if status in statuses),
        TrainingOutcome.COMPLETE,
    )


def moot(members: Sequence[MemberState]) -> list[MemberState]:
    """Return the running members whose figures cannot count any more.

    Those are all once the candidate's code raised, and otherwise those at a learning rate at which
    another member failed.

    Args:
        members: All members of one candidate.
    """
    raised = first_error(members) is not None
    failed = {member.member.learning_rate for member in members if member.status.is_failure}
    return [
        member
        for member in members
        if member.running and (raised or member.member.learning_rate in failed)
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


def training_result(
    candidate: CandidateState,
    members: Sequence[MemberState],
    settings: ProxySettings,
    *,
    metric: Metric,
    engines: Sequence[str],
    device: torch.device,
) -> TrainingResult | Exception | None:
    """Return what came of a candidate: None if it was cancelled, or what its code raised.

    Args:
        candidate: Its state.
        members: The states of all its members.
        settings: How candidates were trained.
        metric: The validation metric.
        engines: What trained it.
        device: Where it was trained.
    """
    if candidate.cancelled:
        return None
    error = first_error(members)
    if error is not None:
        return error
    best = best_members(members, metric)
    outcome, score, curve = outcome_of(best), mean_score(best), _mean_curve([m.curve for m in best])
    if candidate.pruned and outcome == TrainingOutcome.COMPLETE:
        outcome = TrainingOutcome.PRUNED
    complete, pruned = outcome == TrainingOutcome.COMPLETE, outcome == TrainingOutcome.PRUNED
    rung_scores = dict(candidate.rung_scores)
    if complete and score is not None:
        # One that ran out of patience has its score at all rungs that follow.
        rung_scores = dict.fromkeys(settings.rungs, score) | rung_scores
    peaks = [member.peak_memory for member in members if member.peak_memory is not None]
    return TrainingResult(
        outcome=outcome,
        value=score if complete else None,
        score=score,
        fidelity=max(candidate.rung_scores) if pruned else float(settings.epochs),
        rung_scores=tuple(rung_scores.items()),
        test_value=_mean([member.test_value for member in best]) if complete else None,
        train_value=_mean([member.train_value for member in best]) if complete else None,
        reported=_mean_reported(best) if complete else {},
        weights=best[0].weights if complete else None,
        best_epoch=best[0].best_epoch if complete else None,
        epochs=min(settings.epochs, len(curve) * settings.validate_every),
        curve=curve,
        losses=_mean_curve([member.losses for member in best]),
        validation_losses=_mean_curve([member.validation_losses for member in best]),
        spread=_standard_error(best) if complete else None,
        scores=_split_scores(best, settings.replicas) if complete else (),
        learning_rate=best[0].member.learning_rate,
        engine=", ".join(dict.fromkeys(engines)),
        seconds=candidate.seconds,
        device=str(device),
        parameters=max(member.parameters for member in best),
        peak_memory=max(peaks, default=None),
        detail=_pruned_detail(candidate, settings, metric) if pruned else _failure_detail(best),
    )


def _worst_failure(members: Sequence[MemberState]) -> MemberState:
    """Return the member that says why all of them failed."""
    for status in (MemberStatus.ERROR, *_FAILED_OUTCOMES):
        for member in members:
            if member.status == status:
                return member
    return members[0]


def _failure_detail(members: Sequence[MemberState]) -> str | None:
    details = [member.detail for member in members if member.score is None and member.detail]
    return details[0] if details else None


def _pruned_detail(candidate: CandidateState, settings: ProxySettings, metric: Metric) -> str:
    assert settings.halving is not None, "only halving prunes"
    epochs = max(candidate.rung_scores)
    return (
        f"its {metric.name} of {candidate.rung_scores[epochs]:.4g} after {epochs:g} of "
        f"{settings.epochs} epochs is not among the best 1/{settings.halving.eta}"
    )


def _standard_error(members: Sequence[MemberState]) -> float | None:
    """Return the standard error of the score; None for one member, or where one has no score."""
    scores = [member.score for member in members if member.score is not None]
    if not 1 < len(scores) == len(members):
        return None
    return stdev(scores) / math.sqrt(len(scores))


def _split_scores(members: Sequence[MemberState], replicas: int) -> tuple[float, ...]:
    """Return the score on each fold, the mean over replicas; the members go fold by fold."""
    scores = [member.score for member in members if member.score is not None]
    if len(scores) < len(members):
        return ()
    return tuple(
        fmean(scores[start : start + replicas]) for start in range(0, len(scores), replicas)
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None where a value is missing. A single value is returned as it is."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return known[0] if len(known) == 1 else fmean(known)


def _mean_reported(members: Sequence[MemberState]) -> dict[str, float]:
    """Return the mean of each further metric that all members have."""
    first, *others = [member.reported for member in members]
    return {
        name: fmean([value, *(other[name] for other in others)]) if others else value
        for name, value in first.items()
        if all(name in other for other in others)
    }


def _last(values: Sequence[float]) -> float | None:
    return values[-1] if values else None


def _mean_curve(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the mean by epoch; a curve that ended earlier stands with its last value."""
    if len(curves) == 1:
        return tuple(curves[0])
    length = max(map(len, curves))
    return tuple(
        fmean(curve[min(epoch, len(curve) - 1)] for curve in curves if curve)
        for epoch in range(length)
    )
