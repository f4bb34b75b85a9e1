"""The surrogate: what is believed of the metric of any candidate, trained or not.

Two kinds of surface are averaged by their evidence: the response surface (`response.py`), right
for most families of networks within twenty trainings, and Gaussian processes (`process.py`) for
what no quadratic follows. Trainings of other fidelities (fewer epochs) take part with an offset
and a noise of their own.

    posterior = fit(space.encode(observed), values)
    mean, deviation = posterior.predict(space.encode(candidates))
    posterior.given(space.encode(pending))      # as if these came out as expected

Nothing here is random: the same observations give the same belief.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import Kernel

from . import gaussian_process, polynomial
from .marginal_likelihood import Evidence, weigh
from .observations import Observations, prepare, spread_out, with_noise

Floats = NDArray[np.float64]

# A Gaussian process that explains the data this much less than all surfaces together is left out.
_LEAST_WEIGHT = 0.05
# Noise variances that a cheaper fidelity may have, relative to a full training.
_NOISE_FACTORS = (1.0, 4.0, 16.0, 64.0)


class Surface(Protocol):
    """One belief, for standardised values."""

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noiseless value, two arrays [n]."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """The surfaces that are averaged, with what was learned about them.

    Attributes:
        terms: Terms of the response surface.
        shapes: Its shapes with weights that sum to 1, and their evidence.
        processes: The Gaussian processes worth keeping: kernel and evidence.
        log_weights: Of the response surface and of each process, [1 + processes].
    """

    terms: polynomial.Terms
    shapes: Sequence[tuple[float, polynomial.Shape, Evidence]]
    processes: Sequence[tuple[Kernel, Evidence]]
    log_weights: Floats

    def condition(self, data: Observations) -> list[Surface]:
        """The surfaces after the observations, in the order of the weights."""
        full = np.hstack([data.encoded, data.offsets])
        surface = polynomial.condition(self.terms, self.shapes, full, data.values, data.factors)
        few = data.part(spread_out(len(data.values)))
        level = few.values
        if data.offsets.shape[1]:
            # A process knows no fidelities: it is shown what the offsets leave.
            here, _ = surface.predict(np.hstack([few.encoded, few.offsets]))
            there, _ = surface.predict(few.encoded)
            level = few.values - (here - there)
        return [
            surface,
            *(
                gaussian_process.condition(kernel, evidence, few.encoded, level, few.factors)
                for kernel, evidence in self.processes
            ),
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """What is believed of the metric, in its own unit, over any candidates.

    Attributes:
        surfaces: The beliefs that are averaged, for the standardised metric; the first one is the
            response surface.
        log_weights: Logarithms of their weights, which sum to 1.
        noise: Standard deviation of one full training around the surface, in the metric's unit.
        mean: What was taken off the metric.
        scale: By what it was divided then.
    """

    surfaces: Sequence[Surface]
    log_weights: Floats
    noise: float
    mean: float
    scale: float
    _prior: Prior = field(repr=False)
    _data: Observations = field(repr=False)

    @property
    def terms(self) -> int:
        """Terms of the response surface."""
        return self._prior.terms.count

    def each(self, encoded: Floats) -> list[tuple[float, Floats, Floats]]:
        """Every surface's log weight, means and standard deviations, in the metric's unit."""
        found = []
        for weight, surface in zip(self.log_weights, self.surfaces, strict=True):
            mean, deviation = surface.predict(encoded)
            found.append((float(weight), self.mean + self.scale * mean, self.scale * deviation))
        return found

    def predict(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noiseless metric.

        Args:
            encoded: Candidates by encoded widths, [n, d], each in [0, 1].

        Returns:
            Two arrays of shape [n], in the metric's unit.
        """
        return mixed(self.each(encoded))

    def quick_mean(self, encoded: Floats) -> Floats:
        """The mean by the response surface alone, [n]."""
        surface = self.surfaces[0]
        assert isinstance(surface, polynomial.Response)
        return self.mean + self.scale * surface.mean(encoded)

    def quick(self) -> Posterior:
        """The response surface by itself: a million candidates in well under a second."""
        return Posterior(
            surfaces=self.surfaces[:1],
            log_weights=np.zeros(1),
            noise=self.noise,
            mean=self.mean,
            scale=self.scale,
            _prior=self._prior,
            _data=self._data,
        )

    def given(self, pending: Floats) -> Posterior:
        """The belief if trainings that still run come out as expected.

        Its means barely move; its uncertainty falls near them, so that the next proposal lies
        elsewhere.

        Args:
            pending: Their candidates, [m, d].
        """
        if not len(pending):
            return self
        expected, _ = self.predict(pending)
        data = Observations(
            encoded=np.vstack([self._data.encoded, pending]),
            values=np.concatenate([self._data.values, (expected - self.mean) / self.scale]),
            factors=np.concatenate([self._data.factors, np.ones(len(pending))]),
            offsets=np.vstack(
                [self._data.offsets, np.zeros((len(pending), self._data.offsets.shape[1]))]
            ),
        )
        return Posterior(
            surfaces=self._prior.condition(data),
            log_weights=self.log_weights,
            noise=self.noise,
            mean=self.mean,
            scale=self.scale,
            _prior=self._prior,
            _data=data,
        )


def mixed(each: Sequence[tuple[float, Floats, Floats]]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of a mixture: log weight, means and deviations of each part."""
    mean = sum(np.exp(weight) * part for weight, part, _ in each)
    second = sum(np.exp(weight) * (part**2 + spread**2) for weight, part, spread in each)
    # Subtracting near equals: what is left of no variance at all may be negative by rounding.
    return np.asarray(mean), np.sqrt(np.maximum(second - mean**2, 0.0))


def fit(
    encoded: Floats,
    values: Floats,
    *,
    widths: int | None = None,
    fidelity: Floats | None = None,
) -> Posterior:
    """Fit the surfaces to observed trainings; the same candidate may stand several times.

    Args:
        encoded: Observed candidates, [n, columns], each column in [0, 1]; n ≥ 1.
        values: Their metrics, [n], finite, higher is better.
        widths: How many of the columns, the first ones, are widths; all by default.
        fidelity: How long each was trained, [n]: the longest is the one that counts.
    """
    data, unit = prepare(encoded, values, fidelity)
    cheaper = data.offsets.shape[1]
    terms = polynomial.Terms(
        columns=encoded.shape[1],
        widths=encoded.shape[1] if widths is None else widths,
        offsets=cheaper,
    )
    few = data.part(spread_out(len(values)))
    if cheaper:
        data = with_noise(data, _noise_factors(terms, few))
        few = data.part(spread_out(len(values)))
    prior, noise = _weighed(terms, few)
    return Posterior(
        surfaces=prior.condition(data),
        log_weights=prior.log_weights,
        noise=unit.scale * noise,
        mean=unit.mean,
        scale=unit.scale,
        _prior=prior,
        _data=data,
    )


def _weighed(terms: polynomial.Terms, data: Observations) -> tuple[Prior, float]:
    """The surfaces with their weights, and the noise of a full training."""
    features = terms.features(np.hstack([data.encoded, data.offsets]))
    shapes = []
    for shape in polynomial.SHAPES:
        gram = (features * terms.prior(shape)) @ features.T
        shapes.append((shape, weigh(gram, data.values, data.factors)))
    processes = []
    for covariance in gaussian_process.COVARIANCES:
        kernel = covariance.kernel(terms.columns, terms.widths)
        gram = kernel(2.0 * data.encoded - 1.0) + 100.0 * data.offsets @ data.offsets.T
        processes.append((kernel, weigh(gram, data.values, data.factors)))
    logs = np.array([found.log_evidence for _, found in [*shapes, *processes]])
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    of_shapes, of_processes = weights[: len(shapes)], weights[len(shapes) :]
    kept = np.flatnonzero(of_processes > _LEAST_WEIGHT)
    both = np.maximum(np.concatenate([[of_shapes.sum()], of_processes[kept]]), 1e-9)
    # The response surface stays even where the processes explain far more: it costs little and
    # its weight of next to nothing changes nothing.
    shares = np.exp(np.log(np.maximum(of_shapes, 1e-300)) - np.log(of_shapes.sum() + 1e-300))
    noises = [found.noise for _, found in [*shapes, *processes]]
    return (
        Prior(
            terms=terms,
            shapes=[
                (float(share), shape, found)
                for share, (shape, found) in zip(shares / shares.sum(), shapes, strict=True)
                if share > 1e-3
            ],
            processes=[processes[index] for index in kept],
            log_weights=np.log(both / both.sum()),
        ),
        float(np.sqrt(weights @ np.square(noises))),
    )


def _noise_factors(terms: polynomial.Terms, data: Observations) -> Floats:
    """The likeliest noise of each cheaper fidelity over a full training's variance, [fidelities].

    One at a time, under a gently curved surface.
    """
    features = terms.features(np.hstack([data.encoded, data.offsets]))
    gram = (features * terms.prior(polynomial.Shape(shared=1.0, curvature=0.1))) @ features.T
    chosen = np.ones(data.offsets.shape[1])
    for index in range(len(chosen)):
        found = []
        for factor in _NOISE_FACTORS:
            chosen[index] = factor
            tried = with_noise(data, chosen)
            found.append(weigh(gram, tried.values, tried.factors).log_evidence)
        chosen[index] = _NOISE_FACTORS[int(np.argmax(found))]
    return chosen
