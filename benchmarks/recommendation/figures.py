"""The figures: true metrics with their standard errors, and whether the recommendation is better.

Entry point: `summarise`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from .replay import Judged

RIVALS = ("best_observed", "largest", "best_baseline", "optimum")


def summarise(replays: Sequence[Sequence[Judged]]) -> dict[str, Any]:
    """Return the figures by count of trainings, over replays with different seeds.

    For each rival there is the recommendation's mean advantage with its standard error, and the
    two-sided Wilcoxon signed-rank test of the paired differences; `p` is 1 where all are 0.
    """
    counts = sorted({judged.count for run in replays for judged in run})
    return {
        str(count): _at([j for run in replays for j in run if j.count == count]) for count in counts
    }


def _at(judged: Sequence[Judged]) -> dict[str, Any]:
    recommended = np.asarray([run.recommended for run in judged])
    entry: dict[str, Any] = {"seeds": len(judged), "recommended": _mean(recommended)}
    for name in RIVALS:
        rival = np.asarray([getattr(run, name) for run in judged])
        entry[name] = _mean(rival)
        advantage = recommended - rival
        entry[f"over_{name}"] = {**_mean(advantage), "p": _p_value(advantage)}
    entry["trained_share"] = float(np.mean([run.is_trained for run in judged]))
    entry["within_interval_share"] = float(np.mean([run.is_within for run in judged]))
    entry["verdicts"] = dict(Counter(run.verdict for run in judged))
    entry["true_gain_by_verdict"] = {
        verdict: float(
            np.mean([r.recommended - r.best_baseline for r in judged if r.verdict == verdict])
        )
        for verdict in entry["verdicts"]
    }
    more = [run.more_trainings for run in judged if run.more_trainings is not None]
    entry["more_trainings"] = float(np.median(more)) if more else None
    return entry


def _mean(values: NDArray[np.float64]) -> dict[str, float]:
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "standard_error": error}


def _p_value(differences: NDArray[np.float64]) -> float:
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="zsplit").pvalue)
