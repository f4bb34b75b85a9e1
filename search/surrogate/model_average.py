"""The surrogate: the posterior of the metric of any candidate, trained or not.

Two kinds of models are averaged by their marginal likelihoods: a polynomial surface
(`polynomial`), right for most families of networks within twenty trainings, and Gaussian processes
(`gaussian_process`) for what no quadratic follows. Trainings of other fidelities (fewer epochs)
take part with an offset and a noise of their own.

    posterior = fit_model_average(space.encode(observed), values)
    mean, deviation = posterior.predict(space.encode(candidates))
    posterior.condition_on(space.encode(pending))      # as if these came out as expected

Nothing here is random: the same observations give the same posterior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import logsumexp

from . import polynomial
from .joint import JointComponent, JointPosterior
from .marginal_likelihood import MarginalLikelihood, fit_marginal_likelihood
from .observations import (
    FREE_VARIANCE,
    MIN_DEVIATION,
    Floats,
    Observations,
    Standardisation,
    centred,
    standardise,
    subsample_indices,
    with_noise_factors,
)

# scikit-learn takes a second to load: only whoever fits a Gaussian process does.
if TYPE_CHECKING:
    from sklearn.gaussian_process.kernels import Kernel

# A Gaussian process that explains the data this much less than all surfaces together is left out.
_MIN_KERNEL_WEIGHT = 0.05
# Noise variances that a cheaper fidelity may have, relative to a full training.
_NOISE_FACTOR_GRID = (1.0, 4.0, 16.0, 64.0)


class ComponentPosterior(Protocol):
    """The posterior under one model, for standardised values."""

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noiseless value, two arrays [n]."""
        ...

    def predict_jointly(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Return mean [n] and covariance [n, n] of the noiseless values."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPriors:
    """The models that are averaged, with what was learned about them.

    Attributes:
        basis: Terms of the polynomial surface.
        polynomial_priors: Its priors with weights that sum to 1, and their marginal likelihoods.
        kernels: The Gaussian processes worth keeping: kernel and marginal likelihood.
        log_weights: Of the polynomial surface and of each process, [1 + processes].
    """

    basis: polynomial.PolynomialBasis
    polynomial_priors: Sequence[tuple[float, polynomial.PolynomialPrior, MarginalLikelihood]]
    kernels: Sequence[tuple[Kernel, MarginalLikelihood]]
    log_weights: Floats

    def condition(
        self, observations: Observations
    ) -> tuple[polynomial.PolynomialPosterior, list[ComponentPosterior]]:
        """Return the polynomial surface and the processes after the observations."""
        from . import gaussian_process

        surface = polynomial.condition(
            self.basis,
            self.polynomial_priors,
            np.hstack([observations.encoded, observations.offsets]),
            observations.values,
            observations.noise_factors,
        )
        subset = observations.subset(subsample_indices(len(observations.values)))
        corrected_values = subset.values
        if observations.offsets.shape[1]:
            # A Gaussian process knows no fidelities: it is fitted without the offsets.
            with_offsets, _ = surface.predict(np.hstack([subset.encoded, subset.offsets]))
            without_offsets, _ = surface.predict(subset.encoded)
            corrected_values = subset.values - (with_offsets - without_offsets)
        return surface, [
            gaussian_process.condition(
                kernel, likelihood, subset.encoded, corrected_values, subset.noise_factors
            )
            for kernel, likelihood in self.kernels
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelAveragePosterior:
    """The posterior of the metric, in its own unit, over any candidates.

    Attributes:
        polynomial: The polynomial surface, for the standardised metric.
        processes: The Gaussian processes that are averaged with it.
        log_weights: Logarithms of their weights, the polynomial's first; the weights sum to 1.
        noise_deviation: Standard deviation of one full training around the surface, in the
            metric's unit.
        standardisation: How the metric was standardised.
    """

    polynomial: polynomial.PolynomialPosterior
    processes: Sequence[ComponentPosterior]
    log_weights: Floats
    noise_deviation: float
    standardisation: Standardisation
    _priors: ModelPriors = field(repr=False)
    _observations: Observations = field(repr=False)

    @property
    def feature_count(self) -> int:
        """Terms of the polynomial surface."""
        return self._priors.basis.feature_count

    def mixture_components(self, encoded: Floats) -> list[tuple[float, Floats, Floats]]:
        """Return each model's log weight, means [n] and deviations [n] in the metric's unit.

        Deviations are at least `MIN_DEVIATION`, so that one may divide by them.
        """
        mean, scale = self.standardisation.mean, self.standardisation.scale
        components: list[tuple[float, Floats, Floats]] = []
        for log_weight, component in zip(
            self.log_weights, (self.polynomial, *self.processes), strict=True
        ):
            component_mean, deviation = component.predict(encoded)
            components.append(
                (
                    float(log_weight),
                    mean + scale * component_mean,
                    np.maximum(scale * deviation, MIN_DEVIATION),
                )
            )
        return components

    def log_mixture(self, log_value: Callable[[Floats, Floats], Floats], encoded: Floats) -> Floats:
        """Return the logarithm of the models' weighted mean of a positive quantity, [n].

        Args:
            log_value: Its logarithm under one model: (means [n], deviations [n]) → [n].
            encoded: Candidates, [n, columns].
        """
        terms = [
            log_weight + log_value(mean, deviation)
            for log_weight, mean, deviation in self.mixture_components(encoded)
        ]
        return np.asarray(logsumexp(np.array(terms), axis=0))

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noiseless metric, two arrays [n].

        Args:
            encoded: Candidates by encoded widths, [n, columns], each in [0, 1].
        """
        return mixture_moments(self.mixture_components(encoded))

    def joint(self, encoded: Floats) -> JointPosterior:
        """Return the joint posterior of a few hundred candidates at most, [n, columns]."""
        scale = self.standardisation.scale
        components = []
        for log_weight, model in zip(
            self.log_weights, (self.polynomial, *self.processes), strict=True
        ):
            mean, covariance = model.predict_jointly(encoded)
            components.append(
                JointComponent(
                    weight=float(np.exp(log_weight)),
                    mean=self.standardisation.mean + scale * mean,
                    covariance=scale**2 * covariance,
                )
            )
        return JointPosterior(components=components)

    def polynomial_mean(self, encoded: Floats) -> Floats:
        """Return the mean by the polynomial surface alone, [n]."""
        standardisation = self.standardisation
        return standardisation.mean + standardisation.scale * self.polynomial.mean(encoded)

    def polynomial_only(self) -> ModelAveragePosterior:
        """Return the polynomial surface by itself: a million candidates in well under a second."""
        return replace(self, processes=(), log_weights=np.zeros(1))

    def condition_on(self, pending: Floats) -> ModelAveragePosterior:
        """Return the posterior if trainings that still run come out as expected.

        Its means barely move; its uncertainty falls near them, so that the next suggestion lies
        elsewhere.

        Args:
            pending: Their candidates, [m, columns].
        """
        if not len(pending):
            return self
        expected, _ = self.predict(pending)
        known = self._observations
        observations = Observations(
            encoded=np.vstack([known.encoded, pending]),
            values=np.concatenate(
                [
                    known.values,
                    (expected - self.standardisation.mean) / self.standardisation.scale,
                ]
            ),
            noise_factors=np.concatenate([known.noise_factors, np.ones(len(pending))]),
            offsets=np.vstack([known.offsets, np.zeros((len(pending), known.offsets.shape[1]))]),
        )
        surface, processes = self._priors.condition(observations)
        return replace(self, polynomial=surface, processes=processes, _observations=observations)


def mixture_moments(
    weighted_moments: Sequence[tuple[float, Floats, Floats]],
) -> tuple[Floats, Floats]:
    """Return mean and deviation of a mixture, given log weight, means and deviations of each."""
    mean = sum(np.exp(weight) * component_mean for weight, component_mean, _ in weighted_moments)
    second_moment = sum(
        np.exp(weight) * (component_mean**2 + component_deviation**2)
        for weight, component_mean, component_deviation in weighted_moments
    )
    # Subtracting near equals: a variance of next to nothing may be negative by rounding.
    variance = np.maximum(second_moment - mean**2, MIN_DEVIATION**2)
    return np.asarray(mean), np.sqrt(variance)


def fit_model_average(
    encoded: Floats,
    values: Floats,
    *,
    width_count: int | None = None,
    fidelity: Floats | None = None,
) -> ModelAveragePosterior:
    """Fit the models to observed trainings; a candidate may have been trained several times.

    Args:
        encoded: Observed candidates, [n, columns], each column in [0, 1]; n ≥ 1.
        values: Their metrics, [n], finite, higher is better.
        width_count: How many of the columns, the first ones, are widths; all by default.
        fidelity: How long each was trained, [n]: the longest is the one that counts.
    """
    observations, standardisation = standardise(encoded, values, fidelity)
    basis = polynomial.PolynomialBasis(
        column_count=encoded.shape[1],
        width_count=encoded.shape[1] if width_count is None else width_count,
        offset_count=observations.offsets.shape[1],
    )
    observations = with_noise_factors(observations, fitted_noise_factors(basis, observations))
    subset = observations.subset(subsample_indices(len(values)))
    priors, noise_deviation = _weigh_models(basis, subset)
    surface, processes = priors.condition(observations)
    return ModelAveragePosterior(
        polynomial=surface,
        processes=processes,
        log_weights=priors.log_weights,
        noise_deviation=standardisation.scale * noise_deviation,
        standardisation=standardisation,
        _priors=priors,
        _observations=observations,
    )


def _weigh_models(
    basis: polynomial.PolynomialBasis, observations: Observations
) -> tuple[ModelPriors, float]:
    """Return the models with their weights, and the noise of a full training."""
    from . import gaussian_process

    features = basis.features(np.hstack([observations.encoded, observations.offsets]))
    polynomial_fits = []
    for polynomial_prior in polynomial.POLYNOMIAL_PRIORS:
        gram = (features * basis.prior_variances(polynomial_prior)) @ features.T
        polynomial_fits.append(
            (
                polynomial_prior,
                fit_marginal_likelihood(gram, observations.values, observations.noise_factors),
            )
        )
    kernel_fits = []
    for kernel_prior in gaussian_process.KERNEL_PRIORS:
        kernel = kernel_prior.build_kernel(basis.column_count, basis.width_count)
        gram = (
            kernel(centred(observations.encoded))
            + FREE_VARIANCE * observations.offsets @ observations.offsets.T
        )
        kernel_fits.append(
            (kernel, fit_marginal_likelihood(gram, observations.values, observations.noise_factors))
        )
    log_likelihoods = np.array(
        [likelihood.log_marginal_likelihood for _, likelihood in [*polynomial_fits, *kernel_fits]]
    )
    weights = np.exp(log_likelihoods - log_likelihoods.max())
    weights /= weights.sum()
    polynomial_weights, kernel_weights = (
        weights[: len(polynomial_fits)],
        weights[len(polynomial_fits) :],
    )
    kept_indices = np.flatnonzero(kernel_weights > _MIN_KERNEL_WEIGHT)
    model_weights = np.maximum(
        np.concatenate([[polynomial_weights.sum()], kernel_weights[kept_indices]]), 1e-9
    )
    # The polynomial surface stays even where the processes explain far more: it costs little and
    # its weight of next to nothing changes nothing.
    prior_weights = np.exp(
        np.log(np.maximum(polynomial_weights, 1e-300)) - np.log(polynomial_weights.sum() + 1e-300)
    )
    noise_deviations = [
        likelihood.noise_deviation for _, likelihood in [*polynomial_fits, *kernel_fits]
    ]
    return (
        ModelPriors(
            basis=basis,
            polynomial_priors=[
                (float(prior_weight), polynomial_prior, likelihood)
                for prior_weight, (polynomial_prior, likelihood) in zip(
                    prior_weights / prior_weights.sum(), polynomial_fits, strict=True
                )
                if prior_weight > 1e-3
            ],
            kernels=[kernel_fits[index] for index in kept_indices],
            log_weights=np.log(model_weights / model_weights.sum()),
        ),
        float(np.sqrt(weights @ np.square(noise_deviations))),
    )


def fitted_noise_factors(basis: polynomial.PolynomialBasis, observations: Observations) -> Floats:
    """Return the likeliest noise variance of each cheaper fidelity over a full training's.

    They are found one at a time, under a gently curved surface; [fidelities − 1].
    """
    if not basis.offset_count:
        return np.empty(0)
    observations = observations.subset(subsample_indices(len(observations.values)))
    features = basis.features(np.hstack([observations.encoded, observations.offsets]))
    gram = (
        features
        * basis.prior_variances(
            polynomial.PolynomialPrior(shared_slope_variance=1.0, curvature_variance=0.1)
        )
    ) @ features.T
    noise_factors = np.ones(observations.offsets.shape[1])
    for index in range(len(noise_factors)):
        log_likelihoods = []
        for factor in _NOISE_FACTOR_GRID:
            noise_factors[index] = factor
            rescaled = with_noise_factors(observations, noise_factors)
            log_likelihoods.append(
                fit_marginal_likelihood(
                    gram, rescaled.values, rescaled.noise_factors
                ).log_marginal_likelihood
            )
        noise_factors[index] = _NOISE_FACTOR_GRID[int(np.argmax(log_likelihoods))]
    return noise_factors
