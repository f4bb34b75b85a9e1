"""The joint posterior of several candidates: what one says about another.

Two candidates that lie side by side share most of their uncertainty, so how much better one is than
the other is known far better than either; two marginal deviations cannot tell. `JointPosterior`
keeps the covariance under each of the averaged models:

    joint = posterior.joint(space.encode(candidates))
    draws = joint.sample(1000, rng)                     # surfaces at the candidates, [1000, n]
    mean, deviation = joint.contrasts(np.array([[1.0, -1.0]]))    # the first less the second
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .observations import MIN_DEVIATION, Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class JointComponent:
    """The joint posterior of n candidates under one model, in the metric's unit.

    Attributes:
        weight: Of the model; those of all models sum to 1.
        mean: Means of the noiseless metric, [n].
        covariance: Their covariance, [n, n].
    """

    weight: float
    mean: Floats
    covariance: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class JointPosterior:
    """The joint posterior of n candidates: a mixture of Gaussians, one for each model."""

    components: Sequence[JointComponent]

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Return draws of the noiseless metric at all candidates together, [count, n]."""
        weights = np.array([component.weight for component in self.components])
        counts = rng.multinomial(count, weights / weights.sum())
        return np.vstack(
            [
                component.mean
                + rng.standard_normal((drawn, len(component.mean))) @ _root(component.covariance).T
                for component, drawn in zip(self.components, counts, strict=True)
            ]
        )

    def contrasts(self, coefficients: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of linear combinations, two arrays [m].

        Args:
            coefficients: Of the candidates, [m, n]: 1 and −1 for a difference.
        """
        means = [coefficients @ component.mean for component in self.components]
        mean = sum(
            component.weight * part for component, part in zip(self.components, means, strict=True)
        )
        variance = sum(
            component.weight
            * (
                np.einsum("mi,ij,mj->m", coefficients, component.covariance, coefficients)
                + (part - mean) ** 2
            )
            for component, part in zip(self.components, means, strict=True)
        )
        return np.asarray(mean), np.sqrt(np.maximum(variance, MIN_DEVIATION**2))


def _root(covariance: Floats) -> Floats:
    """Return R with R Rᵀ the covariance, which may be singular; [n, n]."""
    eigenvalues, axes = np.linalg.eigh(covariance)
    return np.asarray(axes * np.sqrt(np.maximum(eigenvalues, 0.0)))
