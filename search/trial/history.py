"""The ledger's records as the search reads them: completed trials, and the proposer's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...storage.ledger.ledger import Record, Tried
from ..goal import Goal
from ..sampler.history import History
from ..space.feasible_set import rows
from ..space.space import Space

COMPLETE = "complete"
PRUNED = "pruned"
CANCELLED = "cancelled"
INFEASIBLE = "infeasible"


@dataclass(frozen=True, kw_only=True)
class Trial:
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


def completed(records: Sequence[Record]) -> list[Trial]:
    """The records that hold a metric, by number."""
    return [_trial(record) for record in records if record.outcome == COMPLETE]


def _trial(record: Record) -> Trial:
    assert record.widths is not None
    assert record.value is not None
    result: Mapping[str, Any] = record.result or {}
    return Trial(
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


def history(
    space: Space,
    tried: Sequence[Tried],
    goal: Goal,
    *,
    epochs: int,
    refused: Sequence[NDArray[np.int64]] = (),
    elsewhere: Sequence[Mapping[str, int]] = (),
    bounds: Mapping[str, float] | None = None,
) -> History:
    """What was tried: every bound candidate, with its metric where there is one.

    A candidate that was stopped early tells what it reached in so many epochs; so that this can be
    set against the others, what those had at the same rung is told as well.

    Args:
        space: The lattice.
        tried: The study's slots that have widths.
        goal: Says which metric is better.
        epochs: Of a whole training.
        refused: Candidates that must not be proposed either, each [d].
        elsewhere: What ran out of memory on other classes of devices than the one here.
        bounds: Limits on what is measured, by name.
    """
    bounds = bounds or {}
    pending: list[NDArray[np.int64]] = []
    skipped: list[NDArray[np.int64]] = []
    failed = list(refused)
    observed: list[tuple[NDArray[np.int64], float, float, list[float]]] = []
    stopped_at = {one.fidelity for one in tried if one.outcome == PRUNED}
    for one in tried:
        row = space.as_row(one.widths)
        if one.outcome is None:
            pending.append(row)
            continue
        if one.outcome not in (COMPLETE, PRUNED):
            (skipped if _tells_nothing(one, elsewhere) else failed).append(row)
            continue
        found = [one.measured.get(name, np.nan) / bound - 1.0 for name, bound in bounds.items()]
        seen = [rung for rung in one.rungs if rung[0] in stopped_at]
        if one.outcome == COMPLETE:
            assert one.value is not None, "a complete slot has a value"
            seen.append((float(epochs), one.value))
        else:
            skipped.append(row)
        observed += [(row, goal.sign * score, fidelity, found) for fidelity, score in seen]
    return History(
        observed=rows([row for row, *_ in observed], space),
        values=np.asarray([value for _, value, *_ in observed], dtype=np.float64),
        pending=rows(pending, space),
        failed=rows(failed, space),
        skipped=rows(skipped, space) if skipped else None,
        fidelity=np.asarray([fidelity for *_, fidelity, _ in observed]) if stopped_at else None,
        measured=np.asarray([found for *_, found in observed]).reshape(len(observed), len(bounds))
        if bounds
        else None,
    )


def _tells_nothing(one: Tried, elsewhere: Sequence[Mapping[str, int]]) -> bool:
    """Whether how a trial ended says nothing about its widths here.

    A person cancelled it, or a device of another class was too small, or one that adopted the trial
    was known to be: what breaks a measured limit has its measurement.
    """
    if one.outcome == INFEASIBLE:
        return not one.measured
    return one.outcome == CANCELLED or one.widths in elsewhere
