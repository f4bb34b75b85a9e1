"""The polynomial surface: Bayesian linear regression on powers of the encoded widths.

Quality is smooth in log-width, so a quadratic with a Gaussian prior on its coefficients learns
more from twenty trainings than a black box:

    y = Φ(x) w + ε,   w ~ N(0, s² diag(prior)),   ε ~ N(0, s² r)

Φ holds an intercept, the slope of each width, one slope that all widths share (wider is better,
or worse, whichever width it is), squares, one square that all widths share (uneven widths are
worse, or better, whichever stand out), and products of pairs. How strong each kind of term is
(`POLYNOMIAL_PRIORS`) is not known beforehand: every prior is weighed by its marginal likelihood,
and the posterior is the Gaussian with the moments of their mixture. It works in the space of the
coefficients, so ten thousand trainings cost no more than their sums of products.

Bishop, Pattern Recognition and Machine Learning (2006), §3.3 and §3.5.
Entry points: `PolynomialBasis`, `POLYNOMIAL_PRIORS`, `condition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .marginal_likelihood import MarginalLikelihood
from .observations import FREE_VARIANCE, Floats, centred

MAX_TERMS = 160
"""Beyond these the products of pairs are left to the process: their sums would take seconds."""

# Rows of features in memory at once: few enough to stay in the processor's cache.
_CHUNK_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class PolynomialPrior:
    """A prior over the terms; variances relative to that of one width's slope.

    Attributes:
        shared_slope_variance: Variance of the slope that all widths share.
        curvature_variance: Variance of squares, shared or not, and products; 0 is a plane.
    """

    shared_slope_variance: float
    curvature_variance: float


POLYNOMIAL_PRIORS = tuple(
    PolynomialPrior(shared_slope_variance=1.0, curvature_variance=curvature)
    for curvature in (0.0, 0.03, 0.1, 0.3, 1.0)
)
"""From a plane to a surface as curved as it is sloped."""


@dataclass(frozen=True, kw_only=True)
class PolynomialBasis:
    """Which terms a polynomial has.

    Attributes:
        column_count: Encoded columns.
        width_count: How many of them, the first ones, are widths: these share a slope and a square.
        offset_count: Fidelities besides the one that counts; each is a column after the encoded
            ones, 1 for its trainings, and has an offset of its own.
    """

    column_count: int
    width_count: int
    offset_count: int = 0

    @property
    def has_products(self) -> bool:
        """Whether there are products of pairs."""
        return self._feature_count_without_products + self._product_count <= MAX_TERMS

    @property
    def feature_count(self) -> int:
        """The number of terms, p."""
        return self._feature_count_without_products + (
            self._product_count if self.has_products else 0
        )

    @property
    def _feature_count_without_products(self) -> int:
        return 3 + 2 * self.column_count + self.offset_count

    @property
    def _product_count(self) -> int:
        return self.column_count * (self.column_count - 1) // 2

    def features(self, encoded: Floats) -> Floats:
        """Return each candidate's terms, [n, p].

        Args:
            encoded: Candidates, [n, columns] with columns in [0, 1]; or [n, columns + offsets].
                Without offset columns they are of the fidelity that counts.
        """
        positions = centred(encoded[:, : self.column_count])
        squares = positions**2 - 0.5
        offsets = encoded[:, self.column_count :]
        if offsets.shape[1] < self.offset_count:
            offsets = np.zeros((len(encoded), self.offset_count))
        parts = [
            np.ones((len(encoded), 1)),
            offsets,
            positions,
            positions[:, : self.width_count].sum(axis=1, keepdims=True),
            squares,
            squares[:, : self.width_count].sum(axis=1, keepdims=True),
        ]
        if self.has_products:
            first, second = np.triu_indices(self.column_count, k=1)
            parts.append(positions[:, first] * positions[:, second])
        return np.hstack(parts)

    def prior_variances(self, polynomial_prior: PolynomialPrior) -> Floats:
        """Return prior variance of each coefficient, [p]."""
        product_count = self._product_count if self.has_products else 0
        return np.concatenate(
            [
                np.full(1 + self.offset_count, FREE_VARIANCE),
                np.ones(self.column_count),
                np.full(1, polynomial_prior.shared_slope_variance),
                np.full(self.column_count + 1 + product_count, polynomial_prior.curvature_variance),
            ]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PolynomialPosterior:
    """A Gaussian posterior of the coefficients, for standardised values.

    Attributes:
        basis: What the coefficients stand for.
        coefficient_mean: Their posterior mean, [p].
        covariance_root: A root R of their posterior covariance, [p, p]: covariance = R Rᵀ.
    """

    basis: PolynomialBasis
    coefficient_mean: Floats
    covariance_root: Floats

    def mean(self, encoded: Floats) -> Floats:
        """Return mean of the noiseless value, [n]: far cheaper than its deviation."""
        return np.asarray(self.basis.features(encoded) @ self.coefficient_mean)

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noiseless value, two arrays [n]."""
        mean, deviation = np.empty(len(encoded)), np.empty(len(encoded))
        for start in range(0, len(encoded), _CHUNK_ROWS):
            chunk = slice(start, start + _CHUNK_ROWS)
            features = self.basis.features(encoded[chunk])
            mean[chunk] = features @ self.coefficient_mean
            projected = features @ self.covariance_root
            deviation[chunk] = np.sqrt(np.einsum("ij,ij->i", projected, projected))
        return mean, deviation

    def predict_jointly(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Return mean [n] and covariance [n, n] of the noiseless values."""
        features = self.basis.features(encoded)
        projected = features @ self.covariance_root
        return features @ self.coefficient_mean, projected @ projected.T


def condition(
    basis: PolynomialBasis,
    weighted_priors: Sequence[tuple[float, PolynomialPrior, MarginalLikelihood]],
    encoded: Floats,
    values: Floats,
    noise_factors: Floats,
) -> PolynomialPosterior:
    """Return the posterior of the coefficients after the observations.

    Args:
        basis: The polynomial.
        weighted_priors: The priors with their weights, which sum to 1, and marginal likelihoods.
        encoded: Observed candidates, [n, columns + offsets].
        values: Their standardised values, [n].
        noise_factors: Noise variance of each relative to a plain training's, [n].
    """
    features = basis.features(encoded)
    weighted_gram = features.T @ (features / noise_factors[:, None])
    weighted_moments = features.T @ (values / noise_factors)
    mean = np.zeros(features.shape[1])
    second_moment = np.zeros((len(mean), len(mean)))
    for weight, polynomial_prior, likelihood in weighted_priors:
        # Scaled by the prior's root the precision is well conditioned, and a plane needs no
        # infinite precision for its missing curvature.
        prior_deviation = np.sqrt(basis.prior_variances(polynomial_prior))
        precision = (
            weighted_gram
            * prior_deviation[:, None]
            * prior_deviation[None, :]
            / likelihood.noise_ratio
        )
        covariance = np.linalg.inv(precision + np.eye(len(prior_deviation)))
        coefficients = (
            prior_deviation
            * (covariance @ (prior_deviation * weighted_moments))
            / likelihood.noise_ratio
        )
        covariance = (
            likelihood.signal_variance
            * covariance
            * prior_deviation[:, None]
            * prior_deviation[None, :]
        )
        mean += weight * coefficients
        second_moment += weight * (covariance + np.outer(coefficients, coefficients))
    eigenvalues, axes = np.linalg.eigh(second_moment - np.outer(mean, mean))
    is_kept = eigenvalues > eigenvalues[-1] * 1e-14
    return PolynomialPosterior(
        basis=basis,
        coefficient_mean=mean,
        covariance_root=axes[:, is_kept] * np.sqrt(eigenvalues[is_kept]),
    )
