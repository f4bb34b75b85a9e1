"""The ledger's records as the search reads them: completed trials, and the proposer's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..storage.ledger import Record
from .candidates import rows
from .goals import Goal
from .history import History
from .space import Space

COMPLETE = "complete"


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
    records: Sequence[Record],
    goal: Goal,
    *,
    refused: Sequence[NDArray[np.int64]] = (),
    bounds: Mapping[str, float] | None = None,
) -> History:
    """What the records say was tried: every bound candidate, with its metric where there is one.

    Args:
        space: The lattice.
        records: The study's slots.
        goal: Says which metric is better.
        refused: Candidates that must not be proposed either, each [d].
        bounds: Limits on what is measured, by name.
    """
    bounds = bounds or {}
    measured: list[list[float]] = []
    observed: list[NDArray[np.int64]] = []
    values: list[float] = []
    pending: list[NDArray[np.int64]] = []
    failed = list(refused)
    for record in records:
        if record.widths is None:
            continue
        row = space.as_row(record.widths)
        if record.outcome == COMPLETE:
            assert record.value is not None
            observed.append(row)
            values.append(goal.sign * record.value)
            found = (record.result or {}).get("measured", {})
            measured.append(
                [found.get(name, np.nan) / bound - 1.0 for name, bound in bounds.items()]
            )
        else:
            (pending if record.outcome is None else failed).append(row)
    return History(
        observed=rows(observed, space),
        values=np.asarray(values, dtype=np.float64),
        pending=rows(pending, space),
        failed=rows(failed, space),
        measured=np.asarray(measured).reshape(len(observed), len(bounds)) if bounds else None,
    )
