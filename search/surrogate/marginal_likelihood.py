"""The marginal likelihood: how well a Gaussian prior over surfaces explains the observations.

A prior is given by its covariance between the trainings, up to an unknown signal variance s² and
with an unknown noise variance s² r for one training:

    y ~ N(0, s² (K + r V)),   V = diag(noise factors)

`fit_marginal_likelihood` tries every noise ratio r of a grid for one eigendecomposition.
Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), §5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from .observations import Floats

# Noise variance over signal variance, from next to no noise to next to no signal.
_NOISE_RATIOS = np.logspace(-4, 2, 25)
# One pseudo-observation of this variance keeps the signal off zero where nothing differs.
_PSEUDO_VARIANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class MarginalLikelihood:
    """How well one prior explains the observations.

    Attributes:
        log_marginal_likelihood: Averaged over the noise ratios, up to a constant that is the same
            for every prior.
        noise_ratio: The likeliest noise ratio r.
        signal_variance: The likeliest signal variance s² at that ratio.
    """

    log_marginal_likelihood: float
    noise_ratio: float
    signal_variance: float

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of one training at noise factor 1, in units of the values."""
        return float(np.sqrt(self.signal_variance * self.noise_ratio))


@dataclass(frozen=True, kw_only=True, eq=False)
class EigenbasisLikelihoods:
    """How well one prior explains the observations at each noise ratio r of the grid, [g].

    Attributes:
        log_likelihoods: Logarithms of the marginal likelihoods, s² integrated out, [g].
        signal_variances: The likeliest signal variance at each, [g].
        noise_ratios: The grid, [g].
        relative_variances: e + r for each ratio and eigenvalue e of V^-½ K V^-½, [g, n].
        rotation: The eigenvectors as columns, [n, n].
        projections: The whitened values in their basis, [n].
    """

    log_likelihoods: Floats
    signal_variances: Floats
    noise_ratios: Floats
    relative_variances: Floats
    rotation: Floats
    projections: Floats


def fit_marginal_likelihood(
    gram: Floats, values: Floats, noise_factors: Floats
) -> MarginalLikelihood:
    """Weigh a prior against observations, at the likeliest noise ratio.

    Args:
        gram: Prior covariance between the observations, K, [n, n].
        values: Observations, [n], standardised.
        noise_factors: Noise variance of each relative to a plain training's, [n].
    """
    basis = eigenbasis_likelihoods(gram, values, noise_factors)
    best_index = int(np.argmax(basis.log_likelihoods))
    return MarginalLikelihood(
        log_marginal_likelihood=float(
            logsumexp(basis.log_likelihoods) - np.log(len(basis.noise_ratios))
        ),
        noise_ratio=float(basis.noise_ratios[best_index]),
        signal_variance=float(basis.signal_variances[best_index]),
    )


def eigenbasis_likelihoods(
    gram: Floats, values: Floats, noise_factors: Floats
) -> EigenbasisLikelihoods:
    """Weigh a prior against observations at every noise ratio of the grid.

    With the eigenvalues e of V^-½ K V^-½ and z the whitened values in its eigenbasis,
    s² = mean(z² / (e + r)) maximises  −½ Σ log(e + r) − n/2 log s²  in closed form.

    Args:
        gram: Prior covariance between the observations, K, [n, n].
        values: Observations, [n], standardised.
        noise_factors: Noise variance of each relative to a plain training's, [n].
    """
    count = len(values)
    whitening = 1.0 / np.sqrt(noise_factors)
    eigenvalues, rotation = np.linalg.eigh(gram * whitening[:, None] * whitening[None, :])
    projections = rotation.T @ (values * whitening)
    relative_variances = np.maximum(eigenvalues, 0.0) + _NOISE_RATIOS[:, None]
    signal_variances = ((projections**2 / relative_variances).sum(axis=1) + _PSEUDO_VARIANCE) / (
        count + 1
    )
    log_likelihoods = (
        -0.5 * np.log(relative_variances).sum(axis=1)
        - 0.5 * (count + 1) * np.log(signal_variances)
        - 0.5 * np.log(noise_factors).sum()
    )
    return EigenbasisLikelihoods(
        log_likelihoods=log_likelihoods,
        signal_variances=signal_variances,
        noise_ratios=_NOISE_RATIOS,
        relative_variances=relative_variances,
        rotation=rotation,
        projections=projections,
    )
