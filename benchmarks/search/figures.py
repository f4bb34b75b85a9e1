"""The figures of a benchmark: means over seeds with their standard errors, and who beats whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from .replay import Replay, make_history, make_suggester
from .table import Table

CHECKPOINTS = (5, 10, 15, 20, 30, 40, 48, 50, 60, 80, 100, 150, 200, 300, 500, 1000)
"""Trial counts that are reported; the last trial always is."""

FIGURES_PER_COUNT = ("regret", "regret_unseen", "recommended_unseen", "best_observed_unseen")
OVERALL_FIGURES = ("infeasible_share", "duplicate_share", "seconds_per_proposal")


def checkpoints(trials: int) -> list[int]:
    """Return the trial counts that a run of so many trials is judged at."""
    return sorted({count for count in CHECKPOINTS if count < trials} | {trials})


def evaluate_replay(table: Table, result: Replay, counts: Sequence[int]) -> dict[str, Any]:
    """Return a replay's figures; a sampler that ran out of candidates keeps its last ones."""
    suggester = make_suggester(table)
    feasible = table.feasible
    figures: dict[str, Any] = {name: {} for name in FIGURES_PER_COUNT}
    best_held_out = float(table.held_out_metric[feasible].max())
    for count in counts:
        rows = result.rows[:count]
        feasible_rows = rows[feasible[rows]]
        worst_metric = float(table.observed_metric[feasible].min())
        value = (
            float(table.observed_metric[feasible_rows].max())
            if len(feasible_rows)
            else worst_metric
        )
        figures["regret"][count] = table.optimum - value
        observed_history = make_history(table, rows)
        recommended_metric = float(table.held_out_metric[feasible].min())
        incumbent_held_out = (
            recommended_metric
            if not len(feasible_rows)
            else table.held_out_metric[
                feasible_rows[np.argmax(table.observed_metric[feasible_rows])]
            ]
        )
        figures["best_observed_unseen"][count] = float(incumbent_held_out)
        if len(observed_history.observed):
            widths = np.array(
                [list(suggester.best_candidate(observed_history).widths.values())], dtype=np.int64
            )
            recommended_metric = float(table.held_out_metric[table.row_indices(widths)[0]])
        figures["recommended_unseen"][count] = recommended_metric
        figures["regret_unseen"][count] = best_held_out - recommended_metric
    figures["infeasible_share"] = float((table.cost[result.rows] > table.limit).mean())
    figures["duplicate_share"] = 1.0 - len(np.unique(result.rows)) / max(len(result.rows), 1)
    figures["seconds_per_proposal"] = float(result.seconds.mean())
    return figures


def summarise(
    results: Mapping[str, Sequence[Mapping[str, Any]]], counts: Sequence[int]
) -> dict[str, Any]:
    """Return means over seeds, standard errors, and tests against the first sampler.

    The tests are one-sided Mann–Whitney tests of the regret at each count: `first_better_p` is
    small where the first sampler's regret is lower beyond chance, `first_worse_p` where higher.
    """
    summary: dict[str, Any] = {}
    reference = next(iter(results))
    for name, runs in results.items():
        entry: dict[str, Any] = {}
        for figure in FIGURES_PER_COUNT:
            values_by_count = {str(count): [run[figure][count] for run in runs] for count in counts}
            entry[figure] = {
                count: float(np.mean(values)) for count, values in values_by_count.items()
            }
            entry[f"{figure}_standard_error"] = {
                count: _standard_error(values) for count, values in values_by_count.items()
            }
        for figure in OVERALL_FIGURES:
            values = [run[figure] for run in runs]
            entry[figure] = float(np.mean(values))
            entry[f"{figure}_standard_error"] = _standard_error(values)
        entry["seeds"] = len(runs)
        if name != reference:
            entry["first"] = reference
            for alternative, label in (("less", "first_better_p"), ("greater", "first_worse_p")):
                entry[label] = {
                    str(count): _p_value(
                        [run["regret"][count] for run in results[reference]],
                        [run["regret"][count] for run in runs],
                        alternative,
                    )
                    for count in counts
                }
        summary[name] = entry
    return summary


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _p_value(first: Sequence[float], other: Sequence[float], alternative: str) -> float:
    if len(set(first) | set(other)) == 1:
        return 1.0
    return float(mannwhitneyu(first, other, alternative=alternative).pvalue)
