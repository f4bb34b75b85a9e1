"""The difference of two candidates: right by another road, calibrated, honest with few points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats
from widthwise.search.surrogate.difference import (
    DifferencePosterior,
    difference_posteriors,
    value_posteriors,
)
from widthwise.search.surrogate.gaussian_process import KERNEL_PRIORS
from widthwise.search.surrogate.observations import centred, standardise
from widthwise.search.surrogate.polynomial import POLYNOMIAL_PRIORS, PolynomialBasis


def by_brute_force(
    encoded: np.ndarray, values: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[float, float]:
    """Mean and P(difference > 0): every prior and noise ratio by plain inverses, s² by quadrature.

    No eigendecomposition and no t distribution: the signal variance is integrated numerically under
    its inverse gamma prior of shape ½ and scale 0.05.
    """
    observations, standardisation = standardise(encoded, values, None)
    y, n = observations.values, len(values)
    basis = PolynomialBasis(column_count=encoded.shape[1], width_count=encoded.shape[1])
    everything = np.vstack([encoded, first, second])
    grams = []
    for prior in POLYNOMIAL_PRIORS:
        features = basis.features(everything)
        grams.append((features * basis.prior_variances(prior)) @ features.T)
    for kernel_prior in KERNEL_PRIORS:
        kernel = kernel_prior.build_kernel(encoded.shape[1], encoded.shape[1])
        grams.append(kernel(centred(everything)))
    contrast = np.zeros(n + 2)
    contrast[n:] = 1.0, -1.0
    weights, means, chances = [], [], []
    grid = np.exp(np.linspace(-12, 8, 2001))  # s²
    for gram in grams:
        cross, variance = gram[:n] @ contrast, contrast @ gram @ contrast
        for ratio in np.logspace(-4, 2, 25):
            noisy = gram[:n, :n] + ratio * np.eye(n)
            inverse = np.linalg.inv(noisy)
            mean = cross @ inverse @ y
            left = max(variance - cross @ inverse @ cross, 0.0)
            log_density = (
                -0.5 * n * np.log(grid)
                - 0.5 * np.linalg.slogdet(noisy)[1]
                - 0.5 * (y @ inverse @ y) / grid
                + stats.invgamma(0.5, scale=0.05).logpdf(grid)
            )
            density = np.exp(log_density) * grid  # of log s²
            weight = integrate.trapezoid(density, np.log(grid))
            above = stats.norm.sf(-mean / np.sqrt(grid * left))
            weights.append(weight)
            means.append(mean)
            chances.append(integrate.trapezoid(density * above, np.log(grid)) / weight)
    weights = np.array(weights) / np.sum(weights)
    return standardisation.scale * float(weights @ means), float(weights @ chances)


@pytest.mark.parametrize("count", [4, 12])
def test_it_is_what_brute_force_gives(count: int) -> None:
    rng = np.random.default_rng(count)
    encoded = rng.random((count, 2))
    values = encoded.sum(axis=1) + rng.normal(0, 0.3, count)
    first, second = np.array([0.9, 0.8]), np.array([0.3, 0.4])
    [difference] = difference_posteriors(encoded, values, first[None, :], second)
    mean, chance = by_brute_force(encoded, values, first, second)
    assert difference.mean == pytest.approx(mean, rel=1e-3, abs=1e-4)
    assert difference.probability_above(0.0) == pytest.approx(chance, abs=2e-3)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """On surfaces that the priors can follow, 95 % intervals hold at least nine in ten."""
    held = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        slope, curve = rng.normal(0, 1, 2), rng.normal(0, 0.3, 2)

        def truth(
            x: np.ndarray, slope: np.ndarray = slope, curve: np.ndarray = curve
        ) -> np.ndarray:
            return x @ slope + (x**2) @ curve

        encoded = rng.random((12, 2))
        pair = rng.random((2, 2))
        values = truth(encoded) + rng.normal(0, 0.3, 12)
        [difference] = difference_posteriors(encoded, values, pair[:1], pair[1])
        low, high = difference.interval()
        held.append(low <= truth(pair[:1])[0] - truth(pair[1:])[0] <= high)
    assert 88 <= sum(held) <= 100


def test_four_noisy_trainings_decide_nothing() -> None:
    sure = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        encoded = rng.random((4, 2))
        [difference] = difference_posteriors(
            encoded, rng.normal(0, 1, 4), np.array([[0.9, 0.9]]), np.array([0.1, 0.2])
        )
        chance = difference.probability_above(0.0)
        sure += chance > 0.95 or chance < 0.05
    assert sure <= 2


def test_a_candidate_does_not_differ_from_itself() -> None:
    rng = np.random.default_rng(0)
    encoded = rng.random((8, 3))
    itself, opposite = difference_posteriors(
        encoded, rng.normal(0, 1, 8), np.vstack([encoded[0], encoded[1]]), encoded[0]
    )
    assert itself.mean == pytest.approx(0.0, abs=1e-9)
    assert itself.deviation < 1e-6
    [back] = difference_posteriors(
        encoded, np.asarray(rng.normal(0, 1, 8)), encoded[:1], encoded[1]
    )
    assert opposite.deviation > 0
    assert back.deviation > 0


def test_an_interval_of_one_component_is_that_of_its_t() -> None:
    one = DifferencePosterior(
        weights=np.ones(1),
        locations=np.array([2.0]),
        scales=np.array([0.5]),
        noise=np.array([3.0]),
        degrees=7.0,
    )
    expected = stats.t(7, loc=2.0, scale=0.5)
    assert one.interval() == pytest.approx(expected.interval(0.95))
    assert one.deviation == pytest.approx(expected.std())
    assert one.probability_above(2.5) == pytest.approx(expected.sf(2.5))
    assert one.probability_within_noise == pytest.approx(expected.cdf(3.0))
    assert one.noise_deviation == 3.0


def test_the_interval_of_a_value_holds_the_truth_about_as_often_as_it_says() -> None:
    # On a slope of three standard deviations of a training: the likeliest noise alone holds it in
    # 73 % after four trainings.
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 12)] * 2), axis=-1).reshape(-1, 2)
    held = []
    for _ in range(60):
        chosen = rng.choice(len(grid), 4, replace=False)
        truth = 3.0 * grid.mean(axis=1)
        values = truth[chosen] + rng.normal(size=4)
        judged = rng.integers(len(grid))
        [posterior] = value_posteriors(grid[chosen], values, grid[[judged]])
        low, high = posterior.interval()
        held.append(low <= truth[judged] <= high)
    assert np.mean(held) >= 0.85


def test_values_differ_by_their_difference() -> None:
    rng = np.random.default_rng(1)
    encoded, values = rng.random((9, 2)), 5.0 + rng.normal(size=9)
    first, second = value_posteriors(encoded, values, encoded[:2])
    [difference] = difference_posteriors(encoded, values, encoded[:1], encoded[1])
    assert first.mean - second.mean == pytest.approx(difference.mean)
    assert first.mean == pytest.approx(values.mean(), abs=3 * values.std())
