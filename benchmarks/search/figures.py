"""The figures of a benchmark: means over seeds with their standard errors, and who beats whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from .replay import Replay, history, proposer
from .table import Table

Floats = NDArray[np.float64]

CHECKPOINTS = (5, 10, 15, 20, 30, 40, 48, 50, 60, 80, 100, 150, 200, 300, 500, 1000)
"""Trial counts that are reported; the last trial always is."""

PER_COUNT = ("regret", "regret_unseen", "recommended_unseen", "best_observed_unseen")
OVERALL = ("infeasible_share", "duplicate_share", "seconds_per_proposal")


def checkpoints(trials: int) -> list[int]:
    """The trial counts that a run of so many trials is judged at."""
    return sorted({count for count in CHECKPOINTS if count < trials} | {trials})


def judge(table: Table, found: Replay, counts: Sequence[int]) -> dict[str, Any]:
    """One replay's figures; a sampler that ran out of candidates keeps its last ones."""
    ours = proposer(table)
    feasible = table.feasible
    figures: dict[str, Any] = {name: {} for name in PER_COUNT}
    best_unseen = float(table.unseen[feasible].max())
    for count in counts:
        rows = found.rows[:count]
        inside = rows[feasible[rows]]
        worst = float(table.seen[feasible].min())
        value = float(table.seen[inside].max()) if len(inside) else worst
        figures["regret"][count] = table.optimum - value
        known = history(table, rows)
        unseen = float(table.unseen[feasible].min())
        lucky = unseen if not len(inside) else table.unseen[inside[np.argmax(table.seen[inside])]]
        figures["best_observed_unseen"][count] = float(lucky)
        if len(known.observed):
            widths = np.array([list(ours.pick(known).widths.values())], dtype=np.int64)
            unseen = float(table.unseen[table.rows_of(widths)[0]])
        figures["recommended_unseen"][count] = unseen
        figures["regret_unseen"][count] = best_unseen - unseen
    figures["infeasible_share"] = float((table.cost[found.rows] > table.limit).mean())
    figures["duplicate_share"] = 1.0 - len(np.unique(found.rows)) / max(len(found.rows), 1)
    figures["seconds_per_proposal"] = float(found.seconds.mean())
    return figures


def summarise(
    results: Mapping[str, Sequence[Mapping[str, Any]]], counts: Sequence[int]
) -> dict[str, Any]:
    """For each sampler the means over seeds, the standard errors, and tests against the first.

    The tests are one-sided Mann–Whitney tests of the regret at each count: `first_better_p` is
    small where the first sampler's regret is lower beyond chance, `first_worse_p` where higher.
    """
    out: dict[str, Any] = {}
    first = next(iter(results))
    for name, runs in results.items():
        entry: dict[str, Any] = {}
        for figure in PER_COUNT:
            table = {str(count): [run[figure][count] for run in runs] for count in counts}
            entry[figure] = {count: float(np.mean(values)) for count, values in table.items()}
            entry[f"{figure}_standard_error"] = {
                count: _standard_error(values) for count, values in table.items()
            }
        for figure in OVERALL:
            values = [run[figure] for run in runs]
            entry[figure] = float(np.mean(values))
            entry[f"{figure}_standard_error"] = _standard_error(values)
        entry["seeds"] = len(runs)
        if name != first:
            entry["first"] = first
            for side, label in (("less", "first_better_p"), ("greater", "first_worse_p")):
                entry[label] = {
                    str(count): _p_value(
                        [run["regret"][count] for run in results[first]],
                        [run["regret"][count] for run in runs],
                        side,
                    )
                    for count in counts
                }
        out[name] = entry
    return out


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _p_value(first: Sequence[float], other: Sequence[float], side: str) -> float:
    if len(set(first) | set(other)) == 1:
        return 1.0
    return float(mannwhitneyu(first, other, alternative=side).pvalue)
