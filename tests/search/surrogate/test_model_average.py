"""The surrogate finds the surface that made the data, and knows its noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.search.space.space import Space, Width
from widthwise.search.surrogate.gaussian_process import QuadraticKernel
from widthwise.search.surrogate.model_average import fit_model_average


def surface(x: np.ndarray) -> np.ndarray:
    """A smooth truth over two widths with its peak at (0.7, 0.4)."""
    return 0.9 - 0.5 * (x[:, 0] - 0.7) ** 2 - 0.3 * (x[:, 1] - 0.4) ** 2


@pytest.mark.parametrize("seed", range(5))
def test_a_quadratic_truth_is_found_from_few_noisy_trainings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.random((25, 2))
    posterior = fit_model_average(inputs, surface(inputs) + rng.normal(0, 0.01, 25))
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 21)] * 2), axis=-1).reshape(-1, 2)
    mean, deviation = posterior.predict(grid)
    assert surface(grid[[mean.argmax()]])[0] > surface(grid).max() - 0.02
    # The truth lies within four standard deviations nearly everywhere.
    assert np.mean(np.abs(mean - surface(grid)) <= 4 * deviation + 1e-9) > 0.95


def test_a_few_trainings_show_that_even_widths_are_better() -> None:
    # One even candidate and four uneven ones of the same sum: only what all widths share tells
    # of other even and uneven ones.
    uneven = [[1, 0, 1, 0, 0.5], [0, 1, 0.5, 1, 0], [1, 1, 0, 0.5, 0], [0.5, 0, 0, 1, 1]]
    posterior = fit_model_average(
        np.array([[0.5] * 5, *uneven]), np.array([1.0, 0.1, 0.2, 0.1, 0.2])
    )
    mean, _ = posterior.predict(np.array([[0.4, 0.6, 0.5, 0.4, 0.6], [0, 1, 1, 0, 0.5]]))
    assert mean[0] > mean[1] + 0.2


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 6), curvature=st.floats(0.0, 1.0))
def test_the_trend_is_a_covariance(seed: int, columns: int, curvature: float) -> None:
    points = np.random.default_rng(seed).uniform(-1, 1, (12, columns))
    trend = QuadraticKernel(max(columns - 1, 1), curvature)
    gram = trend(points)
    assert trend.diag(points) == pytest.approx(np.diag(gram))
    assert gram == pytest.approx(gram.T)
    assert np.linalg.eigvalsh(gram).min() > -1e-9 * np.trace(gram)


def test_noise_is_told_from_the_surface() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.random((200, 2))
    quiet = fit_model_average(inputs, surface(inputs) + rng.normal(0, 0.005, 200)).noise_deviation
    loud = fit_model_average(inputs, surface(inputs) + rng.normal(0, 0.1, 200)).noise_deviation
    assert quiet == pytest.approx(0.005, rel=0.3)
    assert loud == pytest.approx(0.1, rel=0.3)


def test_uncertainty_shrinks_where_there_is_data() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.random((40, 2)) * 0.3
    posterior = fit_model_average(inputs, surface(inputs) + rng.normal(0, 0.01, 40))
    _, deviation = posterior.predict(np.array([[0.15, 0.15], [1.0, 1.0]]))
    assert deviation[0] < deviation[1] / 3


@pytest.mark.parametrize(
    ("encoded", "values"),
    [
        pytest.param([[0.5, 0.5]], [0.7], id="one training"),
        pytest.param([[0.5, 0.5]] * 3, [0.7, 0.8, 0.9], id="one candidate three times"),
        pytest.param([[0.0, 0.0], [1.0, 1.0]], [0.7, 0.7], id="no difference at all"),
    ],
)
def test_degenerate_data_give_finite_posteriors(
    encoded: list[list[float]], values: list[float]
) -> None:
    posterior = fit_model_average(np.array(encoded), np.array(values))
    mean, deviation = posterior.predict(np.random.default_rng(0).random((50, 2)))
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()
    assert (deviation >= 0).all()


def test_of_no_candidates_there_is_no_posterior() -> None:
    rng = np.random.default_rng(0)
    encoded = rng.uniform(-1, 1, (12, 2))
    posterior = fit_model_average(encoded, encoded.sum(axis=1), width_count=2)
    mean, deviation = posterior.predict(np.empty((0, 2)))
    assert (mean.shape, deviation.shape) == ((0,), (0,))


def test_absence_is_a_level_of_its_own() -> None:
    """A second layer hurts while it is narrow, and none is as good as a wide one."""
    space = Space(
        [Width.range("a", 8, 128, step=8), Width.range("b", 8, 128, step=8, optional=True)]
    )
    rows = space.enumerate()
    octaves = np.log2(np.maximum(rows, 1))
    truth = 0.6 + 0.02 * octaves[:, 0] + np.where(rows[:, 1] == 0, 0.25, 0.05 * octaves[:, 1] - 0.1)
    rng = np.random.default_rng(0)
    tried = rng.choice(len(rows), 30, replace=False)
    values = truth[tried] + rng.normal(0, 0.005, 30)
    posterior = fit_model_average(space.encode(rows[tried]), values, width_count=2)
    mean, _ = posterior.predict(space.encode(rows))
    absent = rows[:, 1] == 0
    assert np.abs(mean - truth)[absent].max() < 0.03
    assert np.abs(mean - truth)[~absent].max() < 0.06
