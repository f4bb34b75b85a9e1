"""The process: a Gaussian process for what a polynomial leaves over.

Its covariance is that of a gentle quadratic plus a Matérn function of the distance, or a Matérn
function alone; so plateaus, bottlenecks and ridges, which no quadratic follows, can be learned
once there are trainings enough to show them. Kernels, conditioning and prediction are
scikit-learn's; the few hyperparameters come from a small grid weighed by evidence (`COVARIANCES`),
since twenty trainings cannot tell one length scale per width.

Entry points: `COVARIANCES`, `condition`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern

from .marginal_likelihood import Evidence

Floats = NDArray[np.float64]

# Prior variance of the intercept over a slope's: all but free.
_FREE = 100.0
# Least noise ratio: keeps the Cholesky factor of a noiseless table well conditioned.
_JITTER = 1e-6


class Trend(Kernel):  # type: ignore[misc]  # scikit-learn has no types
    """Covariance of a gentle quadratic: slopes and curvature, of each width and shared by all.

    k(u, v) = u·v + (Σ u)(Σ v) + c ((u·v)² / 2 + (Σ u² − ½)(Σ v² − ½)), sums over the widths,
    u and v in [-1, 1].

    Args:
        widths: How many of the columns, the first ones, share a slope and a square.
        curvature: Variance of a product of two columns over that of a slope.
    """

    def __init__(self, widths: int, curvature: float = 0.1) -> None:
        self.widths = widths
        self.curvature = curvature

    def __call__(self, X: Floats, Y: Floats | None = None) -> Floats:  # noqa: N803
        """The covariance between two sets of points, [n, m]."""
        other = X if Y is None else Y
        plain = X @ other.T
        slope, square = self._shared(X)
        other_slope, other_square = self._shared(other)
        curved = 0.5 * plain**2 + np.outer(square, other_square)
        return np.asarray(plain + np.outer(slope, other_slope) + self.curvature * curved)

    def diag(self, X: Floats) -> Floats:  # noqa: N803
        """The variance at each point, [n]."""
        plain = (X**2).sum(axis=1)
        slope, square = self._shared(X)
        return np.asarray(plain + slope**2 + self.curvature * (0.5 * plain**2 + square**2))

    def _shared(self, points: Floats) -> tuple[Floats, Floats]:
        """What all widths share: the sum of their positions and of their squares, two [n]."""
        widths = points[:, : self.widths]
        return widths.sum(axis=1), (widths**2 - 0.5).sum(axis=1)

    def is_stationary(self) -> bool:
        """A trend is not."""
        return False


@dataclass(frozen=True, kw_only=True)
class Covariance:
    """A prior over surfaces; variances relative to that of one width's slope in [-1, 1].

    Attributes:
        trend: Whether there is a gentle quadratic below the rough part.
        rough: Variance of the Matérn part.
        length: Its length scale: root mean square distance per column, as a share of the range.
    """

    trend: bool
    rough: float
    length: float

    def kernel(self, columns: int, widths: int) -> Kernel:
        """The covariance between points of [-1, 1]^columns."""
        # From −1 to 1 the range is 2 long.
        length = 2.0 * self.length * np.sqrt(columns)
        kernel = ConstantKernel(_FREE) + ConstantKernel(self.rough) * Matern(length, nu=2.5)
        return kernel + Trend(widths) if self.trend else kernel


COVARIANCES = (
    *(
        Covariance(trend=True, rough=rough, length=length)
        for rough in (0.5, 4.0)
        for length in (0.2, 0.6)
    ),
    *(Covariance(trend=False, rough=1.0, length=length) for length in (0.1, 0.2, 0.4)),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Process:
    """A Gaussian process given observations, for standardised values."""

    regressor: GaussianProcessRegressor

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noiseless value, two arrays [n]."""
        mean, deviation = self.regressor.predict(2.0 * encoded - 1.0, return_std=True)
        return np.asarray(mean), np.asarray(deviation)


def condition(
    kernel: Kernel, evidence: Evidence, encoded: Floats, values: Floats, factors: Floats
) -> Process:
    """The process after the observations.

    Args:
        kernel: Its covariance, up to the signal variance.
        evidence: The signal variance and the noise.
        encoded: Observed candidates, [n, columns] with columns in [0, 1].
        values: Their standardised values, [n].
        factors: Noise variance of each relative to a plain training's, [n].
    """
    regressor = GaussianProcessRegressor(
        ConstantKernel(evidence.signal, "fixed") * kernel,
        alpha=evidence.signal * np.maximum(evidence.ratio * factors, _JITTER),
        optimizer=None,
    )
    return Process(regressor=regressor.fit(2.0 * encoded - 1.0, values))
