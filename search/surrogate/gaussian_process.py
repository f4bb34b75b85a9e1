"""Gaussian processes, for what a polynomial surface leaves over.

Its covariance is that of a gentle quadratic plus a Matérn function of the distance, or a Matérn
function alone; so plateaus, bottlenecks and ridges, which no quadratic follows, can be learned
once there are trainings enough to show them. Kernels, conditioning and prediction are
scikit-learn's; the few hyperparameters come from a small grid (`KERNEL_PRIORS`) weighed by marginal
likelihood, since twenty trainings cannot tell one length scale per width.

Entry points: `KERNEL_PRIORS`, `condition`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern

from .marginal_likelihood import MarginalLikelihood
from .observations import FREE_VARIANCE, Floats, centred

# Least noise ratio: keeps the Cholesky factor of a noiseless table well conditioned.
_JITTER = 1e-6


class QuadraticKernel(Kernel):  # type: ignore[misc]  # scikit-learn has no types
    """Covariance of a gentle quadratic: slopes and curvature, of each width and shared by all.

    k(u, v) = u·v + (Σ u)(Σ v) + c ((u·v)² / 2 + (Σ u² − ½)(Σ v² − ½)), sums over the widths,
    u and v in [-1, 1].

    Args:
        width_count: How many of the columns, the first ones, share a slope and a square.
        curvature: Variance of a product of two columns over that of a slope.
    """

    def __init__(self, width_count: int, curvature: float = 0.1) -> None:
        self.width_count = width_count
        self.curvature = curvature

    def __call__(self, X: Floats, Y: Floats | None = None) -> Floats:  # noqa: N803
        """Return the covariance between two sets of points, [n, m]."""
        other = X if Y is None else Y
        inner_products = X @ other.T
        slope, square = self._shared_terms(X)
        other_slope, other_square = self._shared_terms(other)
        quadratic_part = 0.5 * inner_products**2 + np.outer(square, other_square)
        return np.asarray(
            inner_products + np.outer(slope, other_slope) + self.curvature * quadratic_part
        )

    def diag(self, X: Floats) -> Floats:  # noqa: N803
        """Return the variance at each point, [n]."""
        squared_norms = (X**2).sum(axis=1)
        slope, square = self._shared_terms(X)
        return np.asarray(
            squared_norms + slope**2 + self.curvature * (0.5 * squared_norms**2 + square**2)
        )

    def _shared_terms(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the sums over all widths of positions and of centred squares, two [n]."""
        width_columns = points[:, : self.width_count]
        return width_columns.sum(axis=1), (width_columns**2 - 0.5).sum(axis=1)

    def is_stationary(self) -> bool:
        """Return False; scikit-learn asks it of every kernel."""
        return False


@dataclass(frozen=True, kw_only=True)
class KernelPrior:
    """A prior over surfaces; variances relative to that of one width's slope in [-1, 1].

    Attributes:
        has_trend: Whether there is a gentle quadratic below the rough part.
        matern_variance: Variance of the Matérn part.
        length_scale: Its length scale: root mean square distance per column, as a share of the
            range.
    """

    has_trend: bool
    matern_variance: float
    length_scale: float

    def build_kernel(self, column_count: int, width_count: int) -> Kernel:
        """Return the covariance function on [-1, 1]^columns."""
        # From −1 to 1 the range is 2 long.
        scaled_length = 2.0 * self.length_scale * np.sqrt(column_count)
        kernel = ConstantKernel(FREE_VARIANCE) + ConstantKernel(self.matern_variance) * Matern(
            scaled_length, nu=2.5
        )
        return kernel + QuadraticKernel(width_count) if self.has_trend else kernel


KERNEL_PRIORS = (
    *(
        KernelPrior(has_trend=True, matern_variance=variance, length_scale=length)
        for variance in (0.5, 4.0)
        for length in (0.2, 0.6)
    ),
    *(
        KernelPrior(has_trend=False, matern_variance=1.0, length_scale=length)
        for length in (0.1, 0.2, 0.4)
    ),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianProcess:
    """A Gaussian process given observations, for standardised values."""

    regressor: GaussianProcessRegressor

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noiseless value, two arrays [n]."""
        if not len(encoded):
            return np.empty(0), np.empty(0)  # scikit-learn refuses none
        mean, deviation = self.regressor.predict(centred(encoded), return_std=True)
        return np.asarray(mean), np.asarray(deviation)

    def predict_jointly(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Return mean [n] and covariance [n, n] of the noiseless values."""
        mean, covariance = self.regressor.predict(centred(encoded), return_cov=True)
        return np.asarray(mean), np.asarray(covariance)


def condition(
    kernel: Kernel,
    likelihood: MarginalLikelihood,
    encoded: Floats,
    values: Floats,
    noise_factors: Floats,
) -> GaussianProcess:
    """Return the process after the observations.

    Args:
        kernel: Its covariance, up to the signal variance.
        likelihood: The signal variance and the noise.
        encoded: Observed candidates, [n, columns] with columns in [0, 1].
        values: Their standardised values, [n].
        noise_factors: Noise variance of each relative to a plain training's, [n].
    """
    regressor = GaussianProcessRegressor(
        ConstantKernel(likelihood.signal_variance, "fixed") * kernel,
        alpha=likelihood.signal_variance
        * np.maximum(likelihood.noise_ratio * noise_factors, _JITTER),
        optimizer=None,
    )
    return GaussianProcess(regressor=regressor.fit(centred(encoded), values))
