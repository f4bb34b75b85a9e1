"""The noise of trainings that differ in their seeds, and differences beyond it.

Settings are trained with the same seeds, so that what a seed does to all of them (the order of the
rows, the first weights) falls out of their difference: a randomised complete block design, the
seeds being the blocks. Its model: value = setting + seed + noise, the noise normal with one
deviation s. It is estimated from what is left of all values beside both means, with
(settings − 1)(seeds − 1) degrees of freedom, and the difference of two settings over k common
seeds has the standard error s √(2 / k) (Montgomery, Design and Analysis of Experiments, 8th ed.,
2012, section 4.1). A pair that scatters significantly more (F test at 1 %) is judged by its own
deviation, as in Student's paired t: a diverging learning rate, say, is noisier than the others.

Where the best of several settings is compared with all others, the bound is Tukey's for all pairs,
q(error; settings, freedom) / √2 standard errors (ibid., section 3.5.7): the largest of many equal
means is far from the smallest by chance alone.

    noise = residual_noise(values)                    # {setting: {seed: value}}
    compare(values["wide"], values["narrow"], noise, error=0.05)

Entry points: `residual_noise`, `compare`, `mean_and_error`, `Noise`, `Difference`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from typing import Any, TypeVar

import numpy as np

SeedValues = Mapping[int, float]
"""Seed to the value of the training with it."""

_Setting = TypeVar("_Setting", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What trainings of one setting scatter by, beside what their seed does to all settings.

    Attributes:
        deviation: Standard deviation of one training.
        freedom: Degrees of freedom that it was estimated with; infinite where it is known
            otherwise.
    """

    deviation: float
    freedom: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference of two settings over their common seeds.

    Attributes:
        mean: First less second.
        half_width: Of its interval; infinite where nothing tells the noise.
        seeds: Seeds that both were trained with.
    """

    mean: float
    half_width: float
    seeds: int

    @property
    def is_positive(self) -> bool:
        """Whether the first is higher, beyond the noise."""
        return self.mean > self.half_width

    @property
    def is_negative(self) -> bool:
        """Whether the first is lower, beyond the noise."""
        return -self.mean > self.half_width


def residual_noise(values: Mapping[_Setting, SeedValues]) -> Noise | None:
    """Return the noise of one training; None where no two settings share two seeds.

    Args:
        values: Setting to its trainings; some may be missing.
    """
    settings = [by_seed for by_seed in values.values() if by_seed]
    if not settings:
        return None
    seeds = sorted({seed for by_seed in settings for seed in by_seed})
    count = sum(map(len, settings))
    freedom = count - len(settings) - len(seeds) + 1
    if freedom < 1:
        return None
    design, observed = np.zeros((count, len(settings) + len(seeds))), np.empty(count)
    row = 0
    for index, by_seed in enumerate(settings):
        for seed, value in by_seed.items():
            design[row, index] = design[row, len(settings) + seeds.index(seed)] = 1.0
            observed[row] = value
            row += 1
    observed -= observed.mean()
    solution = np.linalg.lstsq(design, observed, rcond=None)[0]
    residual = observed - design @ solution
    freedom = count - int(np.linalg.matrix_rank(design))
    if freedom < 1:
        return None
    return Noise(deviation=math.sqrt(float(residual @ residual) / freedom), freedom=freedom)


def compare(
    first: SeedValues,
    second: SeedValues,
    noise: Noise | None,
    *,
    error: float,
    settings: int | None = None,
) -> Difference:
    """Return the mean difference over the common seeds.

    Args:
        first: Trainings of a setting, at least one seed in common with the other.
        second: Trainings of the other.
        noise: Of one training, from `residual_noise`; None where it is not known.
        error: Of the interval, two-sided; of a statement such as "the first is higher" half of it.
        settings: How many settings there are, where the two were chosen by their values: the error
            is that of all their differences together.
    """
    differences = [first[seed] - second[seed] for seed in first if seed in second]
    count, mean = len(differences), fmean(differences)
    deviation, freedom = math.inf, 1.0
    if noise is not None:
        deviation, freedom = noise.deviation * math.sqrt(2), noise.freedom
    if count > 1:
        own = stdev(differences)
        if noise is None or own > deviation * math.sqrt(_f_quantile(count - 1, freedom)):
            deviation, freedom = own, count - 1.0
    quantile = _t_quantile(error, freedom) if settings is None else _tukey(error, settings, freedom)
    return Difference(mean=mean, half_width=quantile * deviation / math.sqrt(count), seeds=count)


@cache
def _t_quantile(error: float, freedom: float) -> float:
    from scipy import stats

    return float(stats.t.isf(error / 2, freedom))


@cache
def _tukey(error: float, settings: int, freedom: float) -> float:
    from scipy import stats

    return float(stats.studentized_range.isf(error, max(2, settings), freedom)) / math.sqrt(2)


@cache
def _f_quantile(numerator: float, denominator: float) -> float:
    """Return the ratio of variances that equal ones exceed in 1 % of cases."""
    from scipy import stats

    if math.isinf(denominator):
        return float(stats.chi2.isf(0.01, numerator)) / numerator
    return float(stats.f.isf(0.01, numerator, denominator))


def mean_and_error(values: SeedValues) -> tuple[float, float | None]:
    """Return the mean over the seeds and its standard error; None for one seed."""
    numbers = list(values.values())
    error = stdev(numbers) / math.sqrt(len(numbers)) if len(numbers) > 1 else None
    return fmean(numbers), error


def difference_json(difference: Difference | None, sign: float) -> dict[str, Any] | None:
    """Return a difference in the metric's own sign."""
    if difference is None:
        return None
    half_width = difference.half_width
    return {
        "mean": sign * difference.mean,
        "half_width": half_width if math.isfinite(half_width) else None,
        "seeds": difference.seeds,
    }
