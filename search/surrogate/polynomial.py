"""The response surface: a Bayesian polynomial in the encoded widths.

Quality is smooth in log-width, so a quadratic with a Gaussian prior on its coefficients tells
more from twenty trainings than a black box:

    y = Φ(x) w + ε,   w ~ N(0, s² diag(prior)),   ε ~ N(0, s² r)

Φ holds an intercept, the slope of each width, one slope that all widths share (wider is better,
or worse, whichever width it is), squares, one square that all widths share (uneven widths are
worse, or better, whichever stand out), and products of pairs. How strong each kind of term is
(`SHAPES`) is not known beforehand: every shape is weighed by its evidence, and the posterior is
the Gaussian with the moments of their mixture. It works in the space of the coefficients, so ten
thousand trainings cost no more than their sums of products.

Bishop, Pattern Recognition and Machine Learning (2006), §3.3 and §3.5.
Entry points: `Terms`, `SHAPES`, `condition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .marginal_likelihood import Evidence

Floats = NDArray[np.float64]

MOST_TERMS = 160
"""Beyond these the products of pairs are left to the process: their sums would take seconds."""

# The intercept and the offsets of other fidelities are all but free: their prior variance over
# a slope's.
_FREE = 100.0
# Rows of features in memory at once: few enough to stay in the processor's cache.
_CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A prior over the terms; variances relative to that of one width's slope.

    Attributes:
        shared: Variance of the slope that all widths share.
        curvature: Variance of squares, shared or not, and products; 0 is a plane.
    """

    shared: float
    curvature: float


SHAPES = tuple(Shape(shared=1.0, curvature=curvature) for curvature in (0.0, 0.03, 0.1, 0.3, 1.0))
"""From a plane to a surface as curved as it is sloped."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Which terms a polynomial has.

    Attributes:
        columns: Encoded columns.
        widths: How many of them, the first ones, are widths: these share a slope and a square.
        offsets: Fidelities besides the one that counts; each is a column after the encoded ones,
            1 for its trainings, and has an offset of its own.
    """

    columns: int
    widths: int
    offsets: int = 0

    @property
    def products(self) -> bool:
        """Whether there are products of pairs."""
        return self._plain + self._pairs <= MOST_TERMS

    @property
    def count(self) -> int:
        """The number of terms, p."""
        return self._plain + (self._pairs if self.products else 0)

    @property
    def _plain(self) -> int:
        return 3 + 2 * self.columns + self.offsets

    @property
    def _pairs(self) -> int:
        return self.columns * (self.columns - 1) // 2

    def features(self, encoded: Floats) -> Floats:
        """Each candidate's terms, [n, p].

        Args:
            encoded: Candidates, [n, columns] with columns in [0, 1]; or [n, columns + offsets].
                Without offset columns they are of the fidelity that counts.
        """
        centred = 2.0 * encoded[:, : self.columns] - 1.0
        squares = centred**2 - 0.5
        offsets = encoded[:, self.columns :]
        if offsets.shape[1] < self.offsets:
            offsets = np.zeros((len(encoded), self.offsets))
        parts = [
            np.ones((len(encoded), 1)),
            offsets,
            centred,
            centred[:, : self.widths].sum(axis=1, keepdims=True),
            squares,
            squares[:, : self.widths].sum(axis=1, keepdims=True),
        ]
        if self.products:
            first, second = np.triu_indices(self.columns, k=1)
            parts.append(centred[:, first] * centred[:, second])
        return np.hstack(parts)

    def prior(self, shape: Shape) -> Floats:
        """Prior variance of each coefficient, [p]."""
        pairs = self._pairs if self.products else 0
        return np.concatenate(
            [
                np.full(1 + self.offsets, _FREE),
                np.ones(self.columns),
                np.full(1, shape.shared),
                np.full(self.columns + 1 + pairs, shape.curvature),
            ]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """A Gaussian belief about the coefficients, for standardised values.

    Attributes:
        terms: What the coefficients stand for.
        weights: Their posterior mean, [p].
        factor: A root of their posterior covariance, [p, p]: covariance = factor factorᵀ.
    """

    terms: Terms
    weights: Floats
    factor: Floats

    def mean(self, encoded: Floats) -> Floats:
        """Mean of the noiseless value, [n]: far cheaper than its deviation."""
        return np.asarray(self.terms.features(encoded) @ self.weights)

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noiseless value, two arrays [n]."""
        mean, deviation = np.empty(len(encoded)), np.empty(len(encoded))
        for start in range(0, len(encoded), _CHUNK):
            rows = slice(start, start + _CHUNK)
            features = self.terms.features(encoded[rows])
            mean[rows] = features @ self.weights
            spread = features @ self.factor
            deviation[rows] = np.sqrt(np.einsum("ij,ij->i", spread, spread))
        return mean, deviation


def condition(
    terms: Terms,
    weighed: Sequence[tuple[float, Shape, Evidence]],
    encoded: Floats,
    values: Floats,
    factors: Floats,
) -> Response:
    """The belief about the coefficients after the observations.

    Args:
        terms: The polynomial.
        weighed: The shapes, each with its weight (they sum to 1) and its evidence.
        encoded: Observed candidates, [n, columns + offsets].
        values: Their standardised values, [n].
        factors: Noise variance of each relative to a plain training's, [n].
    """
    features = terms.features(encoded)
    products = features.T @ (features / factors[:, None])
    moments = features.T @ (values / factors)
    mean = np.zeros(features.shape[1])
    second = np.zeros((len(mean), len(mean)))
    for weight, shape, evidence in weighed:
        # Scaled by the prior's root the precision is well conditioned, and a plane needs no
        # infinite precision for its missing curvature.
        root = np.sqrt(terms.prior(shape))
        precision = products * root[:, None] * root[None, :] / evidence.ratio
        covariance = np.linalg.inv(precision + np.eye(len(root)))
        weights = root * (covariance @ (root * moments)) / evidence.ratio
        covariance = evidence.signal * covariance * root[:, None] * root[None, :]
        mean += weight * weights
        second += weight * (covariance + np.outer(weights, weights))
    eigenvalues, axes = np.linalg.eigh(second - np.outer(mean, mean))
    kept = eigenvalues > eigenvalues[-1] * 1e-14
    return Response(terms=terms, weights=mean, factor=axes[:, kept] * np.sqrt(eigenvalues[kept]))
