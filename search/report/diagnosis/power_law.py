"""A power law of quality in size, E − a N^(−b), with intervals, or why there is none.

Losses of networks fall with their size N, and with the number of training samples, as a power law
towards a floor: E + a N^(−b) with a, b > 0 (Hestness et al., Deep Learning Scaling is Predictable,
Empirically, 2017, arXiv:1712.00409; Rosenfeld et al., ICLR 2020, arXiv:1909.12673; for learning
curves Cortes et al., NIPS 1993). Signed so that higher is better, quality is E − a N^(−b).

For a given exponent b the law is linear in E and a. So the least squares over all three are found
by a search over b alone (variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973),
and the profile of the sum of squares S over b gives intervals that need no linearisation (Bates
and Watts, Nonlinear Regression Analysis and Its Applications, 1988, §6.1): 90 % of all parameters θ
keep

    S(θ) ≤ S_min + s² F(0.9; 1, n − 3),   s² = S_min / (n − 3)

and the interval of any quantity c(b)·(E, a), such as the gain of doubling N, is the union over b of
what keeps this. Where the qualities themselves were corrected by something uncertain, the law is
fitted to several draws of them, and the interval is that of the mixture (multiple imputation:
Rubin, Multiple Imputation for Nonresponse in Surveys, 1987, ch. 3).

A law is refused, with a sentence, where sizes or points are too few (`MIN_POINTS`, `MIN_OCTAVES`),
where quality does not rise with size (an F test against a constant at 5 %), or where a cubic in
log N describes the points better (an F test at 0.1 %): then it rises and falls, or steps.

Entry points: `fit_power_law`, `PowerLaw`, `NoLaw`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from scipy.special import ndtri

from ...goal import CONFIDENCE
from ...surrogate.observations import Floats
from .interval import TAIL

MIN_POINTS = 8
"""Trainings below which a law of three parameters has no residuals to speak of."""
MIN_OCTAVES = 2.0
"""Doublings of the size that the points must span: over less, every curve is a line."""
MIN_SIZES = 4
"""Distinct sizes: three parameters pass through any three."""
RISE_LEVEL = 0.05
"""Significance at which size must matter."""
MISFIT_LEVEL = 0.001
"""Significance at which a cubic in log N refutes the law."""

EXPONENTS = np.geomspace(0.02, 5.0, 400)
"""Exponents that are tried: from a logarithm to a step; published ones are 0.05 to 1."""

_TINY = np.finfo(np.float64).tiny
_QUANTILE = float(ndtri(1.0 - TAIL))
_NORMAL_POINTS = ndtri((np.arange(400) + 0.5) / 400)
"""Points of equal probability of a standard normal distribution."""


@dataclass(frozen=True, kw_only=True)
class NoLaw:
    """Why no power law is told.

    Attributes:
        reason: A sentence.
    """

    reason: str


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """A fitted quantity with its 90 % interval.

    Attributes:
        value: Least-squares estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PowerLaw:
    """Quality E − a (N / scale)^(−b), higher being better.

    Attributes:
        ceiling: E, what no size exceeds.
        exponent: b; its interval may end where the search does (`EXPONENTS`).
        scale: The geometric middle of the sizes, which keeps the numbers well scaled.
        sizes: Sizes of the points, [n].
        deviation: Standard deviation of one training around the law.
    """

    ceiling: Estimated
    exponent: Estimated
    scale: float
    sizes: Floats
    deviation: float
    _profiles: Sequence[_Profile]

    def quality(self, size: float) -> Estimated:
        """Return the quality at a size."""
        relative = size / self.scale
        return _mixed(self._profiles, lambda b: (np.ones_like(b), -(relative**-b)))

    def gain(self, size: float, factor: float) -> Estimated:
        """Return what a network, or a training set, of so many times a size would bring."""
        relative = size / self.scale
        return _mixed(
            self._profiles, lambda b: (np.zeros_like(b), relative**-b * (1.0 - factor**-b))
        )

    def pays_until(self, least_gain: float) -> Estimated:
        """Return the size from which doubling brings less than a least gain.

        Its ends are where the ends of the interval of the gain fall below it: the least size of the
        points where they do so from the start, infinite where they do so nowhere within ten
        octaves beyond the points.
        """
        smallest, largest = float(self.sizes.min()), float(self.sizes.max())
        octaves = np.arange(0.0, np.log2(largest / smallest) + 10.0, 0.25)
        sizes = smallest * np.exp2(octaves)
        gains = [self.gain(float(size), 2.0) for size in sizes]
        ends = []
        for figures in (
            [gain.value for gain in gains],
            [gain.low for gain in gains],
            [gain.high for gain in gains],
        ):
            below = np.flatnonzero(np.asarray(figures) < least_gain)
            ends.append(float(sizes[below[0]]) if len(below) else float("inf"))
        return Estimated(value=ends[0], low=ends[1], high=ends[2])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Profile:
    """The sum of squares by exponent, with the linear fit of each.

    Attributes:
        squares: Least weighted sum of squares of each exponent of `EXPONENTS`, [exponents].
        coefficients: (E, a) there, [exponents, 2].
        inverses: Inverses of the normal matrices, [exponents, 2, 2].
        variance: Of one training around the law.
        threshold: Sum of squares that 90 % of all parameters keep.
    """

    squares: Floats
    coefficients: Floats
    inverses: Floats
    variance: float
    threshold: float

    @property
    def exponent(self) -> Estimated:
        """The exponent b."""
        kept = EXPONENTS[self.squares <= self.threshold]
        return Estimated(
            value=float(EXPONENTS[int(np.argmin(self.squares))]),
            low=float(kept.min()),
            high=float(kept.max()),
        )

    def interval(self, contrast: Callable[[Floats], tuple[Floats, Floats]]) -> Estimated:
        """Return estimate and interval of c(b)·(E, a)."""
        coefficients = np.stack(contrast(EXPONENTS), axis=1)
        values = (coefficients * self.coefficients).sum(axis=1)
        slack = self.threshold - self.squares
        kept = slack >= 0
        spreads = np.sqrt(
            np.maximum(slack, 0)
            * np.einsum("bi,bij,bj->b", coefficients, self.inverses, coefficients)
        )
        return Estimated(
            value=float(values[int(np.argmin(self.squares))]),
            low=float((values - spreads)[kept].min()),
            high=float((values + spreads)[kept].max()),
        )


def fit_power_law(
    sizes: Floats,
    qualities: Floats,
    weights: Floats | None = None,
    *,
    draws: Floats | None = None,
    what: str = "size",
) -> PowerLaw | NoLaw:
    """Fit a power law, or say why there is none.

    Args:
        sizes: Sizes N, [n], above 0.
        qualities: Measured qualities, [n], higher is better.
        weights: Relative precision of each, [n]; 1 is that of one training.
        draws: The qualities as they might be as well, where they were corrected by something
            uncertain, [draws, n].
        what: What N is, for sentences.
    """
    precision = np.ones(len(sizes)) if weights is None else weights
    if (reason := _too_few(sizes, what)) is not None:
        return NoLaw(reason=reason)
    scale = float(np.exp(np.log(sizes).mean()))
    all_qualities = qualities[None, :] if draws is None else np.vstack([qualities, draws])
    profiles = _fit_profiles(sizes / scale, all_qualities, precision)
    profile = profiles[0]
    if (reason := _refutation(sizes, qualities, precision, profile, what)) is not None:
        return NoLaw(reason=reason)
    exponents = [each.exponent for each in profiles]
    return PowerLaw(
        ceiling=_mixed(profiles, lambda b: (np.ones_like(b), np.zeros_like(b))),
        exponent=_mixture(exponents),
        scale=scale,
        sizes=sizes,
        deviation=float(np.sqrt(profile.variance)),
        _profiles=profiles,
    )


def _mixed(
    profiles: Sequence[_Profile], contrast: Callable[[Floats], tuple[Floats, Floats]]
) -> Estimated:
    return _mixture([profile.interval(contrast) for profile in profiles])


def _mixture(parts: Sequence[Estimated]) -> Estimated:
    """Return the estimate of the first, with the interval of all, each a split normal."""
    if len(parts) == 1:
        return parts[0]
    values, lows, highs = (
        np.array([getattr(part, name) for part in parts])[:, None]
        for name in ("value", "low", "high")
    )
    below, above = (values - lows) / _QUANTILE, (highs - values) / _QUANTILE
    points = values + np.where(_NORMAL_POINTS < 0, below, above) * _NORMAL_POINTS
    low, high = np.quantile(points, [TAIL, 1.0 - TAIL])
    return Estimated(value=parts[0].value, low=float(low), high=float(high))


def _refutation(
    sizes: Floats, qualities: Floats, precision: Floats, profile: _Profile, what: str
) -> str | None:
    """Return why the points refute the law; None where they do not."""
    squares = float(profile.squares.min())
    amplitude = profile.coefficients[int(np.argmin(profile.squares)), 1]
    freedom = len(sizes) - 3
    mean = np.average(qualities, weights=precision)
    constant_squares = float((precision * (qualities - mean) ** 2).sum())
    rise = (constant_squares - squares) / 2.0 / max(squares / freedom, _TINY)
    if amplitude <= 0 or scipy.stats.f.sf(rise, 2, freedom) > RISE_LEVEL:
        return f"quality does not rise with {what} beyond the noise of a training"
    if _is_refuted(np.log(sizes / sizes.min()), qualities, precision, squares):
        return f"quality does not follow a power law in {what}: it flattens, falls or steps"
    return None


def _too_few(sizes: Floats, what: str) -> str | None:
    """Return why the points do not suffice; None where they do."""
    distinct = len(np.unique(sizes))
    if len(sizes) < MIN_POINTS or distinct < MIN_SIZES:
        return (
            f"{len(sizes)} trainings at {distinct} values of {what} are too few for a power law; "
            f"{MIN_POINTS} at {MIN_SIZES} values are the least"
        )
    octaves = float(np.log2(sizes.max() / sizes.min()))
    if octaves < MIN_OCTAVES:
        return (
            f"the trainings span a factor of {2**octaves:.1f} in {what}, too little for a power "
            f"law; {2**MIN_OCTAVES:.0f} is the least"
        )
    return None


def _fit_profiles(relative: Floats, qualities: Floats, precision: Floats) -> list[_Profile]:
    """Return the profile of each row of qualities, [k, n]."""
    falls = relative[None, :] ** -EXPONENTS[:, None]
    design = np.stack([np.ones_like(falls), -falls], axis=2)
    weighted = design * precision[None, :, None]
    # Two columns that hardly differ (a tiny exponent) are told apart by the pseudo-inverse.
    inverses = np.asarray(
        np.linalg.pinv(weighted.transpose(0, 2, 1) @ design, hermitian=True), dtype=np.float64
    )
    solvers = inverses @ weighted.transpose(0, 2, 1)
    freedom = len(relative) - 3
    factor = float(scipy.stats.f.ppf(CONFIDENCE, 1, freedom))
    profiles = []
    for row in qualities:
        coefficients = solvers @ row
        residuals = row - (design @ coefficients[:, :, None])[:, :, 0]
        squares = (precision * residuals**2).sum(axis=1)
        least = float(squares.min())
        variance = least / freedom
        profiles.append(
            _Profile(
                squares=squares,
                coefficients=coefficients,
                inverses=inverses,
                variance=variance,
                threshold=least + variance * factor,
            )
        )
    return profiles


def _is_refuted(log_sizes: Floats, qualities: Floats, precision: Floats, squares: float) -> bool:
    """Return whether a cubic in log N fits better than chance would let it."""
    freedom = len(qualities) - 4
    if len(np.unique(log_sizes)) < 5 or freedom < 1:
        return False
    roots = np.sqrt(precision)
    design = np.vander(log_sizes, 4) * roots[:, None]
    solution, *_ = np.linalg.lstsq(design, qualities * roots, rcond=None)
    cubic = float(((qualities * roots - design @ solution) ** 2).sum())
    gain = (squares - cubic) / max(cubic / freedom, _TINY)
    return bool(scipy.stats.f.sf(gain, 1, freedom) < MISFIT_LEVEL)
