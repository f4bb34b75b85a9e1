"""Decisions: whether a gain is one, no gain, or undecided; and how many trainings would decide.

A gain d over a baseline, with σ the standard deviation of one training, is

- **a gain** where P(d > 0) is at least 95 %;
- **no gain** where d is below σ with at least 95 %, and 0 is within one standard error of it: what
  is left between them is less than the luck of one training;
- **undecided** otherwise.

It is the decision by a region of practical equivalence, here all below σ: Kruschke, Rejecting or
Accepting Parameter Values in Bayesian Estimation (2018), with the 95 % he takes.

Entry points: `judge_gain`, `trainings_each`.
"""

from __future__ import annotations

import math

from ...goal import NORMAL_QUANTILE
from ...surrogate.difference import DifferencePosterior
from ..verdict import Verdict

SURE = 0.95
"""Probability from which on something counts as decided."""
SURE_QUANTILE = 1.6449
"""Φ(1.6449) = 0.95."""
ONE_STANDARD_ERROR = 0.8413
"""Φ(1): a gain that is positive with less is within one standard error of nothing."""


def judge_gain(difference: DifferencePosterior) -> Verdict:
    """Return whether a candidate is better than a baseline.

    Args:
        difference: The candidate's metric less the baseline's, higher being better.
    """
    probability_better = difference.probability_above(0.0)
    if probability_better >= SURE:
        return Verdict.GAIN
    if difference.probability_within_noise >= SURE and probability_better < ONE_STANDARD_ERROR:
        return Verdict.NO_GAIN
    return Verdict.UNDECIDED


def trainings_each(difference: float, deviation: float, noise: float) -> int:
    """Return how many more trainings of each of two candidates are expected to decide.

    n trainings of each tell their difference with the variance 2 σ² / n; with what is known before,
    its standard error becomes s_n, where 1 / s_n² = 1 / s² + n / (2 σ²) (Gelman et al., Bayesian
    Data Analysis, 3rd edition (2013), §2.5). If the difference stays at m, it is a gain once it is
    z = 1.645 standard errors above 0, and no gain once it is below the noise σ by as many and
    within one of 0, which is so for m up to σ / (1 + z) = 0.38 σ:

        n = 2 σ² (z² / Δ² − 1 / s²),    Δ = σ − m for m ≤ σ / (1 + z), else m,

    at least 1, and at most 2 z² (1 + z)² = 38. With m = 0, s = σ: n = 2 z² − 2 = 3.4, so 4 of each;
    what is worse needs fewer.

    Args:
        difference: The present difference m of what was searched over a baseline, in the metric's
            unit, positive is better.
        deviation: Its standard error s.
        noise: Standard deviation σ of one training.
    """
    if noise <= 0.0:
        return 1
    is_gain_nearer = difference > noise / (1.0 + SURE_QUANTILE)
    margin = difference if is_gain_nearer else noise - difference
    needed = 2.0 * noise**2 * (SURE_QUANTILE**2 / margin**2 - 1.0 / deviation**2)
    return max(1, math.ceil(needed))


def trainings_to_settle(margin: float, deviation: float, noise: float) -> int:
    """Return how many more trainings of one candidate tell on which side of a target it is.

    As `trainings_each`, with the variance σ² / n of one mean and z = 1.2816, the quantile of the
    confidence that a target asks for; a margin below σ / 2 counts as σ / 2, since to tell less
    would take more trainings than anybody spends: at most 4 z² = 7.

    Args:
        margin: By how much it is believed to be beyond the target, in the metric's unit.
        deviation: Standard error of that.
        noise: Standard deviation σ of one training.
    """
    if noise <= 0.0:
        return 1
    distance = max(abs(margin), 0.5 * noise)
    needed = noise**2 * (NORMAL_QUANTILE**2 / distance**2 - 1.0 / deviation**2)
    return max(1, math.ceil(needed))
