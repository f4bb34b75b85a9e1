"""The surrogate: what is believed of the metric of any candidate, trained or not.

Two kinds of surface are averaged by their evidence: the response surface (`response.py`), right
for most families of networks within twenty trainings, and Gaussian processes (`process.py`) for
what no quadratic follows. Trainings of other fidelities (fewer epochs) take part with an offset
and a noise of their own.

    posterior = fit(space.encode(observed), values)
    mean, deviation = posterior.predict(space.encode(candidates))
    posterior.condition_on(space.encode(pending))      # as if these came out as expected

Nothing here is random: the same observations give the same belief.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from . import polynomial
from .marginal_likelihood import MarginalLikelihood, fit_marginal_likelihood
from .observations import Floats, Observations, standardise, subsample_indices, with_noise_factors

# scikit-learn takes a second to load: only whoever fits a Gaussian process does.
if TYPE_CHECKING:
    from sklearn.gaussian_process.kernels import Kernel

# A Gaussian process that explains the data this much less than all surfaces together is left out.
_MIN_KERNEL_WEIGHT = 0.05
# Noise variances that a cheaper fidelity may have, relative to a full training.
_NOISE_FACTOR_GRID = (1.0, 4.0, 16.0, 64.0)


class ComponentPosterior(Protocol):
    """One belief, for standardised values."""

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noiseless value, two arrays [n]."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPriors:
    """The surfaces that are averaged, with what was learned about them.

    Attributes:
        basis: Terms of the response surface.
        polynomial_priors: Its shapes with weights that sum to 1, and their evidence.
        kernels: The Gaussian processes worth keeping: kernel and evidence.
        log_weights: Of the response surface and of each process, [1 + processes].
    """

    basis: polynomial.PolynomialBasis
    polynomial_priors: Sequence[tuple[float, polynomial.PolynomialPrior, MarginalLikelihood]]
    kernels: Sequence[tuple[Kernel, MarginalLikelihood]]
    log_weights: Floats

    def condition(self, observations: Observations) -> list[ComponentPosterior]:
        """The surfaces after the observations, in the order of the weights."""
        from . import gaussian_process

        encoded_with_offsets = np.hstack([observations.encoded, observations.offsets])
        surface = polynomial.condition(
            self.basis,
            self.polynomial_priors,
            encoded_with_offsets,
            observations.values,
            observations.noise_factors,
        )
        subset = observations.subset(subsample_indices(len(observations.values)))
        corrected_values = subset.values
        if observations.offsets.shape[1]:
            # A process knows no fidelities: it is shown what the offsets leave.
            with_offsets, _ = surface.predict(np.hstack([subset.encoded, subset.offsets]))
            without_offsets, _ = surface.predict(subset.encoded)
            corrected_values = subset.values - (with_offsets - without_offsets)
        return [
            surface,
            *(
                gaussian_process.condition(
                    kernel, likelihood, subset.encoded, corrected_values, subset.noise_factors
                )
                for kernel, likelihood in self.kernels
            ),
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelAveragePosterior:
    """What is believed of the metric, in its own unit, over any candidates.

    Attributes:
        components: The beliefs that are averaged, for the standardised metric; the first one is the
            response surface.
        log_weights: Logarithms of their weights, which sum to 1.
        noise_deviation: Standard deviation of one full training around the surface, in the metric's unit.
        value_mean: What was taken off the metric.
        value_scale: By what it was divided then.
    """

    components: Sequence[ComponentPosterior]
    log_weights: Floats
    noise_deviation: float
    value_mean: float
    value_scale: float
    _priors: ModelPriors = field(repr=False)
    _observations: Observations = field(repr=False)

    @property
    def feature_count(self) -> int:
        """Terms of the response surface."""
        return self._priors.basis.feature_count

    def mixture_components(self, encoded: Floats) -> list[tuple[float, Floats, Floats]]:
        """Every surface's log weight, means and standard deviations, in the metric's unit."""
        weighted_moments = []
        for weight, component in zip(self.log_weights, self.components, strict=True):
            mean, deviation = component.predict(encoded)
            weighted_moments.append(
                (
                    float(weight),
                    self.value_mean + self.value_scale * mean,
                    self.value_scale * deviation,
                )
            )
        return weighted_moments

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noiseless metric.

        Args:
            encoded: Candidates by encoded widths, [n, d], each in [0, 1].

        Returns:
            Two arrays of shape [n], in the metric's unit.
        """
        return mixture_moments(self.mixture_components(encoded))

    def polynomial_mean(self, encoded: Floats) -> Floats:
        """The mean by the response surface alone, [n]."""
        surface = self.components[0]
        assert isinstance(surface, polynomial.PolynomialPosterior)
        return self.value_mean + self.value_scale * surface.mean(encoded)

    def polynomial_only(self) -> ModelAveragePosterior:
        """The response surface by itself: a million candidates in well under a second."""
        return ModelAveragePosterior(
            components=self.components[:1],
            log_weights=np.zeros(1),
            noise_deviation=self.noise_deviation,
            value_mean=self.value_mean,
            value_scale=self.value_scale,
            _priors=self._priors,
            _observations=self._observations,
        )

    def condition_on(self, pending: Floats) -> ModelAveragePosterior:
        """The belief if trainings that still run come out as expected.

        Its means barely move; its uncertainty falls near them, so that the next proposal lies
        elsewhere.

        Args:
            pending: Their candidates, [m, d].
        """
        if not len(pending):
            return self
        expected, _ = self.predict(pending)
        observations = Observations(
            encoded=np.vstack([self._observations.encoded, pending]),
            values=np.concatenate(
                [self._observations.values, (expected - self.value_mean) / self.value_scale]
            ),
            noise_factors=np.concatenate([self._observations.noise_factors, np.ones(len(pending))]),
            offsets=np.vstack(
                [
                    self._observations.offsets,
                    np.zeros((len(pending), self._observations.offsets.shape[1])),
                ]
            ),
        )
        return ModelAveragePosterior(
            components=self._priors.condition(observations),
            log_weights=self.log_weights,
            noise_deviation=self.noise_deviation,
            value_mean=self.value_mean,
            value_scale=self.value_scale,
            _priors=self._priors,
            _observations=observations,
        )


def mixture_moments(
    weighted_moments: Sequence[tuple[float, Floats, Floats]],
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of a mixture: log weight, means and deviations of each part."""
    mean = sum(np.exp(weight) * component_mean for weight, component_mean, _ in weighted_moments)
    second_moment = sum(
        np.exp(weight) * (component_mean**2 + component_deviation**2)
        for weight, component_mean, component_deviation in weighted_moments
    )
    # Subtracting near equals: what is left of no variance at all may be negative by rounding.
    return np.asarray(mean), np.sqrt(np.maximum(second_moment - mean**2, 0.0))


def fit_model_average(
    encoded: Floats,
    values: Floats,
    *,
    width_count: int | None = None,
    fidelity: Floats | None = None,
) -> ModelAveragePosterior:
    """Fit the surfaces to observed trainings; the same candidate may stand several times.

    Args:
        encoded: Observed candidates, [n, columns], each column in [0, 1]; n ≥ 1.
        values: Their metrics, [n], finite, higher is better.
        width_count: How many of the columns, the first ones, are widths; all by default.
        fidelity: How long each was trained, [n]: the longest is the one that counts.
    """
    observations, standardisation = standardise(encoded, values, fidelity)
    offset_count = observations.offsets.shape[1]
    basis = polynomial.PolynomialBasis(
        column_count=encoded.shape[1],
        width_count=encoded.shape[1] if width_count is None else width_count,
        offset_count=offset_count,
    )
    subset = observations.subset(subsample_indices(len(values)))
    if offset_count:
        observations = with_noise_factors(observations, _fit_noise_factors(basis, subset))
        subset = observations.subset(subsample_indices(len(values)))
    priors, noise_deviation = _weigh_models(basis, subset)
    return ModelAveragePosterior(
        components=priors.condition(observations),
        log_weights=priors.log_weights,
        noise_deviation=standardisation.scale * noise_deviation,
        value_mean=standardisation.mean,
        value_scale=standardisation.scale,
        _priors=priors,
        _observations=observations,
    )


def _weigh_models(
    basis: polynomial.PolynomialBasis, observations: Observations
) -> tuple[ModelPriors, float]:
    """The surfaces with their weights, and the noise of a full training."""
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
            kernel(2.0 * observations.encoded - 1.0)
            + 100.0 * observations.offsets @ observations.offsets.T
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
    # The response surface stays even where the processes explain far more: it costs little and
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


def _fit_noise_factors(basis: polynomial.PolynomialBasis, observations: Observations) -> Floats:
    """The likeliest noise of each cheaper fidelity over a full training's variance, [fidelities].

    One at a time, under a gently curved surface.
    """
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
