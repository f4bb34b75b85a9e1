"""Differences between candidates are known better than the candidates."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.search.surrogate.joint import JointComponent, JointPosterior
from widthwise.search.surrogate.model_average import ModelAveragePosterior, fit_model_average


def make_posterior(seed: int = 0) -> ModelAveragePosterior:
    rng = np.random.default_rng(seed)
    inputs = rng.random((30, 2))
    values = 0.9 - 0.3 * np.exp(-3 * inputs[:, 0]) + rng.normal(0, 0.01, 30)
    return fit_model_average(inputs, values)


CANDIDATES = np.array([[0.2, 0.5], [0.25, 0.5], [0.9, 0.1]])


def test_its_marginals_are_those_of_the_surrogate() -> None:
    posterior = make_posterior()
    mean, deviation = posterior.predict(CANDIDATES)
    joint_mean, joint_deviation = posterior.joint(CANDIDATES).contrasts(np.eye(3))
    assert joint_mean == pytest.approx(mean)
    assert joint_deviation == pytest.approx(deviation, rel=1e-6)


def test_draws_have_the_moments_of_the_contrasts() -> None:
    joint = make_posterior().joint(CANDIDATES)
    coefficients = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    mean, deviation = joint.contrasts(coefficients)
    draws = joint.sample(40_000, np.random.default_rng(0)) @ coefficients.T
    assert draws.mean(axis=0) == pytest.approx(mean, abs=float(deviation.max()) / 50)
    assert draws.std(axis=0) == pytest.approx(deviation, rel=0.03)


def test_a_neighbour_is_compared_more_closely_than_two_deviations_would() -> None:
    posterior = make_posterior()
    _, marginal = posterior.predict(CANDIDATES)
    _, difference = posterior.joint(CANDIDATES).contrasts(np.array([[1.0, -1.0, 0.0]]))
    assert difference[0] < 0.5 * np.hypot(marginal[0], marginal[1])


def test_models_that_disagree_add_to_the_doubt() -> None:
    certain = np.zeros((2, 2))
    joint = JointPosterior(
        components=[
            JointComponent(weight=0.5, mean=np.array([0.0, 1.0]), covariance=certain),
            JointComponent(weight=0.5, mean=np.array([0.0, 3.0]), covariance=certain),
        ]
    )
    mean, deviation = joint.contrasts(np.array([[-1.0, 1.0]]))
    assert (mean[0], deviation[0]) == pytest.approx((2.0, 1.0))
    assert set(joint.sample(50, np.random.default_rng(0))[:, 1]) == {1.0, 3.0}
