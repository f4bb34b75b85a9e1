"""The ledger's records as the search reads them: completed trials, and the history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...storage.ledger.slot import SlotRecord, TrialOutcome
from ...storage.ledger.tried import TriedSlot
from ..goal import Goal
from ..sampler.history import History, TriedCandidate, TriedState, make_history
from ..sampler.origin import Origin
from ..space.space import Space


@dataclass(frozen=True, kw_only=True)
class CompletedTrial:
    """One completed training.

    Attributes:
        number: Its slot in the study's budget, from 0.
        widths: What was trained.
        origin: Who chose it.
        value: Best validation metric.
        test: Test metric of the same weights; never used to choose.
        costs: Costs by name, as counted before the training; a latency in seconds, as measured.
        seed: Repeats the training exactly.
        train: Metric of the same weights on rows they were trained on; None where it is unknown.
        constant_score: The metric of a constant prediction; None where it is unknown.
        no_better_than_constant: Whether the metric is no better than that: nothing was learnt.
        curve: Validation metric after each validated epoch; the mean over replicas and folds.
        steps: The step of each point of the curve, where a training of the user's own reported it;
            empty where they are epochs.
        losses: Mean training loss of each of these epochs.
        validation_losses: Mean validation loss after each of them.
        best_epoch: Index in `curve` of the epoch whose weights were judged.
        epochs: Epochs trained.
        seconds: Wall-clock time of the training, its share of a batch.
        spread: Standard error of the value over replicas and folds; None for one training.
        scores: The value on each fold; empty where it is unknown.
        reported: Further figures that were recorded beside the metric, by name.
    """

    number: int
    widths: Mapping[str, int]
    origin: Origin
    value: float
    test: float | None
    costs: Mapping[str, float]
    seed: int
    train: float | None = None
    constant_score: float | None = None
    no_better_than_constant: bool = False
    curve: Sequence[float] = ()
    steps: Sequence[float] = ()
    losses: Sequence[float] = ()
    validation_losses: Sequence[float] = ()
    best_epoch: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    spread: float | None = None
    scores: Sequence[float] = ()
    reported: Mapping[str, float] = field(default_factory=dict)


def completed_trials(records: Sequence[SlotRecord]) -> list[CompletedTrial]:
    """Return the records that hold a metric, by number."""
    return [
        _completed_trial(record) for record in records if record.outcome == TrialOutcome.COMPLETE
    ]


def _completed_trial(record: SlotRecord) -> CompletedTrial:
    assert record.widths is not None
    assert record.value is not None
    result: Mapping[str, Any] = record.result or {}
    return CompletedTrial(
        number=record.number,
        widths=record.widths,
        origin=Origin.parse(record.origin),
        value=record.value,
        test=result.get("test"),
        costs={**result.get("costs", {}), **result.get("measured", {})},
        seed=result.get("seed", 0),
        train=result.get("train"),
        constant_score=result.get("constant_score"),
        no_better_than_constant=bool(result.get("no_better_than_constant")),
        curve=tuple(result.get("curve", ())),
        steps=tuple(result.get("steps", ())),
        losses=tuple(result.get("losses", ())),
        validation_losses=tuple(result.get("validation_losses", ())),
        best_epoch=result.get("best_epoch"),
        epochs=result.get("epochs"),
        seconds=result.get("seconds"),
        spread=result.get("attributes", {}).get("spread"),
        scores=tuple(result.get("scores", ())),
        reported=result.get("reported", {}),
    )


def build_history(
    space: Space,
    tried: Sequence[TriedSlot],
    goal: Goal,
    *,
    known_infeasible: Sequence[NDArray[np.int64]] = (),
    out_of_memory_elsewhere: Sequence[Mapping[str, int]] = (),
    measured_limits: Mapping[str, float] | None = None,
) -> History:
    """Read a ledger's trials as a history: every bound candidate, with its metric if it has one.

    A candidate that was stopped early has what it reached in so many epochs; to set this against
    the others, what those had at the same rung is in the history as well.

    Args:
        space: The lattice.
        tried: The study's slots that have widths.
        goal: Says which metric is better.
        known_infeasible: Candidates that must not be suggested either, each [d].
        out_of_memory_elsewhere: What ran out of memory on other classes of devices than the one
            here; empty for an answer that is to hold on any of them.
        measured_limits: Limits on what is measured, by name.
    """
    limits = measured_limits or {}
    pruned_rungs = {slot.fidelity for slot in tried if slot.outcome == TrialOutcome.PRUNED}
    candidates = [TriedCandidate(row=row, state=TriedState.FAILED) for row in known_infeasible]
    for slot in tried:
        scores = [rung for rung in slot.rungs if rung[0] in pruned_rungs]
        if slot.outcome == TrialOutcome.COMPLETE:
            assert slot.value is not None, "a complete slot has a value"
            scores.append((math.inf if slot.fidelity is None else slot.fidelity, slot.value))
        elif slot.outcome != TrialOutcome.PRUNED:
            scores = []
        candidates.append(
            TriedCandidate(
                row=space.as_row(slot.widths),
                state=_candidate_state(slot, out_of_memory_elsewhere),
                scores=[(fidelity, goal.sign * score) for fidelity, score in scores],
                violations=[
                    slot.measured.get(name, np.nan) / limit - 1.0 for name, limit in limits.items()
                ],
            )
        )
    return make_history(
        candidates, space, constraint_count=len(limits), has_fidelities=bool(pruned_rungs)
    )


def _candidate_state(
    slot: TriedSlot, out_of_memory_elsewhere: Sequence[Mapping[str, int]]
) -> TriedState:
    """Return what a slot's outcome means to the search."""
    match slot.outcome:
        case None:
            return TriedState.PENDING
        case TrialOutcome.COMPLETE:
            return TriedState.COMPLETE
        case TrialOutcome.PRUNED | TrialOutcome.CANCELLED:
            return TriedState.SKIPPED
        case TrialOutcome.INFEASIBLE if not slot.measured:
            # A device that adopted the trial was known to be too small for it.
            return TriedState.REFUSED
        case _ if slot.widths in out_of_memory_elsewhere:
            return TriedState.REFUSED
        case _:
            return TriedState.FAILED
