"""Intervals that hold however often one looks: repeated confidence intervals for a few means.

A race looks at its results several times, and stops when it likes what it sees; an ordinary 95 %
interval would then miss the truth far more often than once in twenty. Here the error is *spent*
over the looks: by n of at most N trainings a share α (n / N)^ρ of it. Whatever makes the race stop,
the intervals of all looks together miss the truth with probability α at most, for independent
normal differences.

Sources: Lan and DeMets, Discrete sequential boundaries for clinical trials (Biometrika 70, 1983);
Kim and DeMets (Biometrika 74, 1987) for the family α t^ρ; Jennison and Turnbull, Group Sequential
Methods (2000), chapter 9, for repeated confidence intervals. Their boundaries are for a known
variance; with three to ten seeds it is not, so the boundary of Student's t is found by simulation
of the null, where the t statistics of all looks do not depend on any unknown.

Example: looks at 5, 7 and 10 seeds, α = 0.05: |t| must exceed 3.5, 3.2 and 2.7, where a single
look at ten seeds would ask for 2.26.

Entry points: `looks`, `critical_value`, `MeanInterval`, `repeated_interval`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy

GAIN_ERROR = 0.05
"""Two-sided error of an interval that a gain is judged by: 95 %, so 2.5 % for a false
gain of each challenger."""

SUFFICIENCY_ERROR = 0.10
"""Two-sided error of an interval that "as good" and "meets the target" are judged by: 5 % for a
false one, as in the two one-sided tests of equivalence (Schuirmann, 1987)."""

_SPENDING_POWER = 1.0
"""ρ: 1 spends the error evenly; with more, hardly any race ends early."""

_LOOK_GROWTH = 1.4
"""Each look has so many times the seeds of the one before: about √2, each look halves the time to
twice the evidence."""

_SIMULATED_RACES = 1 << 18
"""Standard error of the simulated error rate: 0.04 points of 5 %."""


_ROUNDING = 1e-9
"""Spread, relative to the mean, below which values are the same but for rounding."""


@dataclass(frozen=True, kw_only=True)
class MeanInterval:
    """A mean with the interval that holds at every look.

    Attributes:
        mean: Of the sample.
        half_width: Of the interval; infinite below two values.
        error: Standard error of the mean; NaN below two values.
        count: Size of the sample.
    """

    mean: float
    half_width: float
    error: float
    count: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width


def looks(first: int, most: int) -> list[int]:
    """Return at how many seeds the race is looked at: from `first` to `most`, growing by √2."""
    counts = [min(first, most)]
    while counts[-1] < most:
        counts.append(min(most, math.ceil(_LOOK_GROWTH * counts[-1])))
    return counts


def critical_value(count: int, *, first: int, most: int, error: float) -> float:
    """Return what |t| of `count` values must exceed.

    Args:
        count: Values so far, at least 2; between two looks the stricter, earlier one holds.
        first: Seeds at the first look.
        most: Seeds at the last.
        error: Two-sided error of all looks together.
    """
    boundary = _boundary(tuple(looks(first, most)), error)
    reached = [look for look in boundary if look <= count]
    if reached:
        return boundary[reached[-1]]
    # Fewer than at the first look, as where trainings failed: the first share of the error.
    return float(scipy.stats.t.isf(error * (first / most) ** _SPENDING_POWER / 2, count - 1))


@cache
def _boundary(counts: tuple[int, ...], error: float) -> dict[int, float]:
    """Return the critical value of |t| at each look, by simulation of races without a difference.

    Each look's value lets as many of the races that are still on cross as its share of the error.
    """
    most = counts[-1]
    values = np.random.default_rng(0).standard_normal((_SIMULATED_RACES, most))
    sums, squares = np.cumsum(values, axis=1), np.cumsum(values**2, axis=1)
    is_on = np.ones(_SIMULATED_RACES, dtype=bool)
    boundary: dict[int, float] = {}
    for count in counts:
        if count < 2:
            boundary[count] = math.inf
            continue
        mean = sums[:, count - 1] / count
        variance = (squares[:, count - 1] - count * mean**2) / (count - 1)
        statistic = np.where(is_on, np.abs(mean) / np.sqrt(variance / count), 0.0)
        spent = error * (count / most) ** _SPENDING_POWER
        crossing = round((spent - (1.0 - is_on.mean())) * _SIMULATED_RACES)
        if len(boundary) == 0:
            boundary[count] = float(scipy.stats.t.isf(spent / 2, count - 1))  # exactly known
        else:
            boundary[count] = float(np.partition(statistic, -crossing - 1)[-crossing - 1])
        is_on &= statistic <= boundary[count]
    return boundary


def repeated_interval(
    values: Sequence[float],
    *,
    first: int,
    most: int,
    error: float,
    threshold: float | None = None,
) -> MeanInterval:
    """Return the mean of values with the interval that holds at every look.

    Args:
        values: One for each seed, such as paired differences; at least one.
        first: Seeds at the first look.
        most: Seeds at the last.
        error: Two-sided error of all looks together.
        threshold: What the mean is judged against: 0 for differences, a target; None for nothing.
    """
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return MeanInterval(mean=mean, half_width=math.inf, error=math.nan, count=count)
    standard_error = float(np.std(values, ddof=1)) / math.sqrt(count)
    if threshold is not None and standard_error <= _ROUNDING * abs(mean):
        # A coarse metric may differ by the same few rows at every seed. Then nothing is known of
        # the spread, and the side alone speaks: by chance it is always the same in 2 of 2^n races.
        distance = abs(mean - threshold)
        if distance <= _ROUNDING * abs(mean):
            return MeanInterval(mean=threshold, half_width=0.0, error=0.0, count=count)
        share = error * (min(count, most) / most) ** _SPENDING_POWER
        half_width = 0.0 if 2.0 ** (1 - count) <= share else distance
        return MeanInterval(mean=mean, half_width=half_width, error=standard_error, count=count)
    critical = critical_value(count, first=first, most=most, error=error)
    return MeanInterval(
        mean=mean, half_width=critical * standard_error, error=standard_error, count=count
    )
