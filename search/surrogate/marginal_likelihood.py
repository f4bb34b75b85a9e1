"""The evidence: how well a Gaussian prior over surfaces explains the trainings that were seen.

A prior is given by its covariance between the trainings, up to an unknown signal variance s² and
with an unknown noise variance s² r for one training:

    y ~ N(0, s² (K + r V)),   V = diag(noise factors)

`weigh` tries every noise ratio r of a grid at the price of one eigendecomposition.
Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), §5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]

# Noise variance over signal variance: from a training that tells all to one that tells nothing.
_RATIOS = np.logspace(-4, 2, 25)
# One pseudo-observation of this variance keeps the signal off zero where nothing differs.
_PSEUDO_VARIANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one prior makes of the observations.

    Attributes:
        log_evidence: Log marginal likelihood, averaged over the noise ratios, up to a constant
            that is the same for every prior.
        ratio: The likeliest noise ratio r.
        signal: The likeliest signal variance s² at that ratio.
    """

    log_evidence: float
    ratio: float
    signal: float

    @property
    def noise(self) -> float:
        """Standard deviation of one training at noise factor 1, in units of the values."""
        return float(np.sqrt(self.signal * self.ratio))


def weigh(gram: Floats, values: Floats, factors: Floats) -> Evidence:
    """Weigh a prior against observations.

    With the eigenvalues e of V^-½ K V^-½ and z the whitened values in its eigenbasis,
    s² = mean(z² / (e + r)) maximises  −½ Σ log(e + r) − n/2 log s²  in closed form.

    Args:
        gram: Prior covariance between the observations, K, [n, n].
        values: Observations, [n], standardised.
        factors: Noise variance of each relative to a plain training's, [n].
    """
    count = len(values)
    white = 1.0 / np.sqrt(factors)
    eigenvalues, rotation = np.linalg.eigh(gram * white[:, None] * white[None, :])
    rotated = (rotation.T @ (values * white)) ** 2
    spread = np.maximum(eigenvalues, 0.0) + _RATIOS[:, None]
    signal = ((rotated / spread).sum(axis=1) + _PSEUDO_VARIANCE) / (count + 1)
    each = (
        -0.5 * np.log(spread).sum(axis=1)
        - 0.5 * (count + 1) * np.log(signal)
        - 0.5 * np.log(factors).sum()
    )
    best = int(np.argmax(each))
    return Evidence(
        log_evidence=float(logsumexp(each) - np.log(len(_RATIOS))),
        ratio=float(_RATIOS[best]),
        signal=float(signal[best]),
    )
