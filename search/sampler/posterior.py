"""The belief: what a history makes one believe of any candidate, its metric and whether it will do.

The metric comes from the surrogate. Limits that can only be measured (latency, say), and trainings
that failed, each have a surrogate of their own; the chance that a candidate keeps them all is the
product of theirs. Source: Gardner et al., Bayesian Optimization with Inequality Constraints (2014).

Entry points: `believe`, `Belief`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

from ..space.feasible_set import Candidates, FeasibleSet
from ..surrogate.model_average import Posterior, fit
from .history import History

Floats = NDArray[np.float64]

LIKELY = 0.5
"""Least chance of keeping every measured limit with which a candidate counts as fit to use."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Belief:
    """What is believed of candidates, given by encoded columns (widths, then companions).

    Attributes:
        metric: The metric, higher is better.
        measured: Each measured limit: at most 0 keeps it.
        seen: Encoded candidates with a metric, and pending ones once `given` them, [n, columns].
    """

    metric: Posterior
    measured: Sequence[Posterior]
    seen: Floats

    def given(self, pending: Floats) -> Belief:
        """The belief if trainings that still run come out as expected, [m, columns]."""
        if not len(pending):
            return self
        return Belief(
            metric=self.metric.given(pending),
            measured=self.measured,
            seen=np.vstack([self.seen, pending]),
        )

    def log_chance(self, encoded: Floats) -> Floats:
        """Logarithm of the chance that each candidate keeps every measured limit, [n]."""
        total = np.zeros(len(encoded))
        for limit in self.measured:
            parts = [
                weight + log_ndtr(-mean / np.maximum(deviation, 1e-12))
                for weight, mean, deviation in limit.each(encoded)
            ]
            total += logsumexp(np.array(parts), axis=0)
        return total

    def fit_to_use(self, encoded: Floats) -> NDArray[np.bool_]:
        """Which candidates keep the measured limits more likely than not, [n]."""
        return np.asarray(self.log_chance(encoded) > np.log(LIKELY))


def believe(feasible: FeasibleSet, history: History) -> Belief:
    """What a history with at least one metric makes one believe."""
    seen = columns(feasible, history.observed, history.riders)
    widths = feasible.space.dimensions
    measured = []
    for limit in () if history.measured is None else history.measured.T:
        known = np.isfinite(limit)
        if known.any():
            measured.append(fit(seen[known], limit[known], widths=widths))
    if len(history.failed) and history.riders is None:
        tried = np.vstack([seen, feasible.encoded(history.failed)])
        outcome = np.concatenate([-np.ones(len(seen)), np.ones(len(history.failed))])
        measured.append(fit(tried, outcome, widths=widths))
    return Belief(
        metric=fit(seen, history.values, widths=widths, fidelity=history.fidelity),
        measured=measured,
        seen=seen,
    )


def columns(feasible: FeasibleSet, candidates: Candidates, riders: Floats | None) -> Floats:
    """Candidates as the surrogate takes them: encoded widths, then companions where there are."""
    encoded = feasible.encoded(candidates)
    return encoded if riders is None else np.hstack([encoded, riders])
