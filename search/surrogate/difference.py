"""The difference of two candidates, or the value of one, with all that is not known in it.

`ModelAveragePosterior` takes the likeliest noise of each model, which a search can live with. A
decision cannot: after four trainings, "all noise" and "no noise" explain them almost equally well,
and the likeliest of the two is no evidence. So here every noise ratio r of the grid is a component
of its own, weighed by its marginal likelihood, and the signal variance s² is integrated out. For a
prior covariance s² K of the surface, noise s² r V, observations y [n] and a difference d with prior
variance s² v and prior covariance s² k with the observations,

    d | y, r  ~  t with n + 1 degrees of freedom,
    location  kᵀ (K + r V)⁻¹ y,
    scale²    s²_r (v − kᵀ (K + r V)⁻¹ k),     s²_r = (yᵀ (K + r V)⁻¹ y + c) / (n + 1),

c being the pseudo-observation of `marginal_likelihood` (an inverse gamma prior of shape ½ and scale
c / 2 on s²). Source: Gelman et al., Bayesian Data Analysis, 3rd edition (2013), §14.2 and §14.8.
The value of one candidate is its difference from zero, by the same formula.

Entry points: `difference_posteriors`, `value_posteriors`, `DifferencePosterior`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from . import polynomial
from .marginal_likelihood import eigenbasis_likelihoods
from .model_average import fitted_noise_factors
from .observations import (
    FREE_VARIANCE,
    MIN_DEVIATION,
    Floats,
    Observations,
    centred,
    standardise,
    subsample_indices,
    with_noise_factors,
)

# Trainings that a difference is drawn from: twelve 256 × 256 eigendecompositions take 0.2 seconds.
_MAX_WEIGHED = 256
# Components that weigh less than this, all together, change no digit that is shown.
_NEGLIGIBLE_WEIGHT = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class DifferencePosterior:
    """How much better one candidate is than another, or than zero: a mixture of t distributions.

    Attributes:
        weights: Of the components, [k]; they sum to 1.
        locations: Their centres, [k], in the metric's unit.
        scales: Their scales, [k], positive.
        noise: Standard deviation of one training under each, [k].
        degrees: Degrees of freedom of all of them.
    """

    weights: Floats
    locations: Floats
    scales: Floats
    noise: Floats
    degrees: float

    @property
    def mean(self) -> float:
        """Mean difference."""
        return float(self.weights @ self.locations)

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of one training, over all components."""
        return float(np.sqrt(self.weights @ self.noise**2))

    @property
    def deviation(self) -> float:
        """Standard deviation of the difference."""
        variances = self.scales**2 * self.degrees / (self.degrees - 2.0)
        return float(np.sqrt(self.weights @ (variances + (self.locations - self.mean) ** 2)))

    def probability_above(self, threshold: float) -> float:
        """Return the probability that the difference is above a threshold."""
        tails = stdtr(self.degrees, (self.locations - threshold) / self.scales)
        return float(self.weights @ tails)

    @property
    def probability_within_noise(self) -> float:
        """Probability that the difference is less than one standard deviation of a training."""
        below = stdtr(self.degrees, (self.noise - self.locations) / self.scales)
        return float(self.weights @ below)

    def interval(self, probability: float = 0.95) -> tuple[float, float]:
        """Return the ends of the central interval that holds the difference so probably."""
        tail = 0.5 * (1.0 - probability)
        return self._quantile(tail), self._quantile(1.0 - tail)

    def _quantile(self, level: float) -> float:
        quantiles = self.locations + self.scales * stdtrit(self.degrees, level)
        low, high = float(quantiles.min()), float(quantiles.max())
        if high - low <= MIN_DEVIATION:
            return low
        return float(
            brentq(
                lambda value: 1.0 - level - self.probability_above(value),
                low - MIN_DEVIATION,
                high + MIN_DEVIATION,
            )
        )


def difference_posteriors(
    encoded: Floats,
    values: Floats,
    candidates: Floats,
    reference: Floats,
    *,
    width_count: int | None = None,
    fidelity: Floats | None = None,
) -> list[DifferencePosterior]:
    """Return how much better each of some candidates is than a reference, given trainings.

    Args:
        encoded: Observed candidates, [n, columns], each column in [0, 1]; n ≥ 1.
        values: Their metrics, [n], finite, higher is better.
        candidates: What is compared, [m, columns].
        reference: What they are compared with, [columns].
        width_count: How many of the columns, the first ones, are widths; all by default.
        fidelity: How long each was trained, [n]: the longest is the one that counts.
    """
    mixtures, _ = _mixtures(encoded, values, candidates, reference, width_count, fidelity)
    return mixtures


def value_posteriors(
    encoded: Floats,
    values: Floats,
    candidates: Floats,
    *,
    width_count: int | None = None,
    fidelity: Floats | None = None,
) -> list[DifferencePosterior]:
    """Return the metric of each of some candidates without the luck of a training.

    Args:
        encoded: Observed candidates, [n, columns], each column in [0, 1]; n ≥ 1.
        values: Their metrics, [n], finite, higher is better.
        candidates: What is judged, [m, columns].
        width_count: How many of the columns, the first ones, are widths; all by default.
        fidelity: How long each was trained, [n]: the longest is the one that counts.
    """
    mixtures, mean = _mixtures(encoded, values, candidates, None, width_count, fidelity)
    return [replace(mixture, locations=mean + mixture.locations) for mixture in mixtures]


def _mixtures(
    encoded: Floats,
    values: Floats,
    candidates: Floats,
    reference: Floats | None,
    width_count: int | None,
    fidelity: Floats | None,
) -> tuple[list[DifferencePosterior], float]:
    """Return the differences from a reference, or from the mean of the metric, and that mean."""
    from . import gaussian_process

    width_count = encoded.shape[1] if width_count is None else width_count
    observations, standardisation = standardise(encoded, values, fidelity)
    basis = polynomial.PolynomialBasis(
        column_count=encoded.shape[1],
        width_count=width_count,
        offset_count=observations.offsets.shape[1],
    )
    observations = with_noise_factors(observations, fitted_noise_factors(basis, observations))
    compared = candidates if reference is None else np.vstack([candidates, reference])
    observations = observations.subset(_weighed_rows(encoded, compared))
    # What is judged, as weights of the rows of `compared`, [m, rows].
    contrasts = np.eye(len(candidates), len(compared))
    if reference is not None:
        contrasts[:, -1] = -1.0

    features = basis.features(np.hstack([observations.encoded, observations.offsets]))
    compared_features = contrasts @ basis.features(compared)
    parts = []
    for prior in polynomial.POLYNOMIAL_PRIORS:
        variances = basis.prior_variances(prior)
        parts.append(
            _condition(
                observations,
                (features * variances) @ features.T,
                (features * variances) @ compared_features.T,
                compared_features**2 @ variances,
            )
        )
    offset_gram = FREE_VARIANCE * observations.offsets @ observations.offsets.T
    points, compared_points = centred(observations.encoded), centred(compared)
    for kernel_prior in gaussian_process.KERNEL_PRIORS:
        kernel = kernel_prior.build_kernel(encoded.shape[1], width_count)
        parts.append(
            _condition(
                observations,
                kernel(points) + offset_gram,
                kernel(points, compared_points) @ contrasts.T,
                np.einsum("ij,jk,ik->i", contrasts, kernel(compared_points), contrasts),
            )
        )
    log_weights = np.concatenate([part.log_likelihoods for part in parts])
    weights = np.exp(log_weights - log_weights.max())
    is_kept = weights / weights.sum() > _NEGLIGIBLE_WEIGHT / len(weights)
    weights = weights[is_kept] / weights[is_kept].sum()
    locations = np.concatenate([part.locations for part in parts])[is_kept]
    scales = np.concatenate([part.scales for part in parts])[is_kept]
    noise = np.concatenate([part.noise for part in parts])[is_kept]
    unit = standardisation.scale
    mixtures = [
        DifferencePosterior(
            weights=weights,
            locations=unit * locations[:, index],
            scales=np.maximum(unit * scales[:, index], MIN_DEVIATION),
            noise=unit * noise,
            degrees=len(observations.values) + 1.0,
        )
        for index in range(len(candidates))
    ]
    return mixtures, standardisation.mean


@dataclass(frozen=True, kw_only=True, eq=False)
class _Conditioned:
    """Differences under one prior, at each of g noise ratios, in standardised units.

    Attributes:
        log_likelihoods: Of the noise ratios, [g].
        locations: Centres, [g, m].
        scales: Scales, [g, m].
        noise: Standard deviation of one training, [g].
    """

    log_likelihoods: Floats
    locations: Floats
    scales: Floats
    noise: Floats


def _condition(
    observations: Observations, gram: Floats, cross: Floats, variances: Floats
) -> _Conditioned:
    """Return the differences after the observations.

    Args:
        observations: The trainings.
        gram: Prior covariance K between them, [n, n].
        cross: Prior covariances k with the differences, [n, m].
        variances: Prior variances v of the differences, [m].
    """
    basis = eigenbasis_likelihoods(gram, observations.values, observations.noise_factors)
    whitening = 1.0 / np.sqrt(observations.noise_factors)
    cross_projections = basis.rotation.T @ (cross * whitening[:, None])
    inverse = 1.0 / basis.relative_variances
    remaining = np.maximum(variances - inverse @ cross_projections**2, 0.0)
    return _Conditioned(
        log_likelihoods=basis.log_likelihoods,
        locations=inverse @ (cross_projections * basis.projections[:, None]),
        scales=np.sqrt(basis.signal_variances[:, None] * remaining),
        noise=np.sqrt(basis.signal_variances * basis.noise_ratios),
    )


def _weighed_rows(encoded: Floats, compared: Floats) -> NDArray[np.intp]:
    """Return the trainings that are weighed: those of what is compared, and a spread of all."""
    rows = subsample_indices(len(encoded), _MAX_WEIGHED)
    is_compared = (encoded[:, None, :] == compared[None, :, :]).all(axis=2).any(axis=1)
    return np.union1d(rows, np.flatnonzero(is_compared))
