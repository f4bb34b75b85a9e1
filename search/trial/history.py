"""The ledger's records as the search reads them: completed trials, and the proposer's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...storage.ledger.ledger import SlotRecord, TriedSlot
from ..goal import Goal
from ..sampler.history import History
from ..space.feasible_set import stack_rows
from ..space.space import Space

COMPLETE = "complete"
PRUNED = "pruned"
CANCELLED = "cancelled"
INFEASIBLE = "infeasible"


@dataclass(frozen=True, kw_only=True)
class CompletedTrial:
    """One completed training.

    Attributes:
        number: Its slot in the study's budget, from 0.
        widths: What was trained.
        origin: Who proposed it: a baseline, the start-up design or the sampler.
        value: Best validation metric.
        test: Test metric of the same weights; never used to choose.
        costs: Costs by name, as counted before the training; a latency in seconds, as measured.
        curve: Validation metric after each epoch.
        seconds: Length of the training.
        seed: Repeats the training exactly.
    """

    number: int
    widths: Mapping[str, int]
    origin: str
    value: float
    test: float | None
    costs: Mapping[str, float]
    curve: Sequence[float]
    seconds: float
    seed: int


def completed_trials(records: Sequence[SlotRecord]) -> list[CompletedTrial]:
    """The records that hold a metric, by number."""
    return [_completed_trial(record) for record in records if record.outcome == COMPLETE]


def _completed_trial(record: SlotRecord) -> CompletedTrial:
    assert record.widths is not None
    assert record.value is not None
    result: Mapping[str, Any] = record.result or {}
    return CompletedTrial(
        number=record.number,
        widths=record.widths,
        origin=record.origin or "",
        value=record.value,
        test=result.get("test"),
        costs={**result.get("costs", {}), **result.get("measured", {})},
        curve=result.get("curve", ()),
        seconds=result.get("seconds", 0.0),
        seed=result.get("seed", 0),
    )


def build_history(
    space: Space,
    tried: Sequence[TriedSlot],
    goal: Goal,
    *,
    epochs: int,
    known_infeasible: Sequence[NDArray[np.int64]] = (),
    out_of_memory_elsewhere: Sequence[Mapping[str, int]] = (),
    measured_limits: Mapping[str, float] | None = None,
) -> History:
    """What was tried: every bound candidate, with its metric where there is one.

    A candidate that was stopped early tells what it reached in so many epochs; so that this can be
    set against the others, what those had at the same rung is told as well.

    Args:
        space: The lattice.
        tried: The study's slots that have widths.
        goal: Says which metric is better.
        epochs: Of a whole training.
        known_infeasible: Candidates that must not be proposed either, each [d].
        out_of_memory_elsewhere: What ran out of memory on other classes of devices than the one here.
        measured_limits: Limits on what is measured, by name.
    """
    measured_limits = measured_limits or {}
    pending: list[NDArray[np.int64]] = []
    skipped: list[NDArray[np.int64]] = []
    failed = list(known_infeasible)
    observed: list[tuple[NDArray[np.int64], float, float, list[float]]] = []
    pruned_rungs = {slot.fidelity for slot in tried if slot.outcome == PRUNED}
    for slot in tried:
        row = space.as_row(slot.widths)
        if slot.outcome is None:
            pending.append(row)
            continue
        if slot.outcome not in (COMPLETE, PRUNED):
            (skipped if _is_uninformative(slot, out_of_memory_elsewhere) else failed).append(row)
            continue
        violations = [
            slot.measured.get(name, np.nan) / limit - 1.0 for name, limit in measured_limits.items()
        ]
        rung_scores = [rung for rung in slot.rungs if rung[0] in pruned_rungs]
        if slot.outcome == COMPLETE:
            assert slot.value is not None, "a complete slot has a value"
            rung_scores.append((float(epochs), slot.value))
        else:
            skipped.append(row)
        observed += [
            (row, goal.sign * score, fidelity, violations) for fidelity, score in rung_scores
        ]
    return History(
        observed=stack_rows([row for row, *_ in observed], space),
        values=np.asarray([value for _, value, *_ in observed], dtype=np.float64),
        pending=stack_rows(pending, space),
        failed=stack_rows(failed, space),
        skipped=stack_rows(skipped, space) if skipped else None,
        fidelity=np.asarray([fidelity for *_, fidelity, _ in observed]) if pruned_rungs else None,
        constraint_values=np.asarray([violations for *_, violations in observed]).reshape(
            len(observed), len(measured_limits)
        )
        if measured_limits
        else None,
    )


def _is_uninformative(
    slot: TriedSlot, out_of_memory_elsewhere: Sequence[Mapping[str, int]]
) -> bool:
    """Whether how a trial ended says nothing about its widths here.

    A person cancelled it, or a device of another class was too small, or one that adopted the trial
    was known to be: what breaks a measured limit has its measurement.
    """
    if slot.outcome == INFEASIBLE:
        return not slot.measured
    return slot.outcome == CANCELLED or slot.widths in out_of_memory_elsewhere
