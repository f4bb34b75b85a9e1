"""The acquisitions equal what they claim to be: expectations, checked by sampling them."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.search.sampler.expected_improvement import (
    log_expected_hypervolume_improvement,
    log_expected_improvement,
    log_expected_saving,
)

DRAWS = 400_000


@pytest.mark.parametrize("best", [-1.0, 0.0, 0.5, 2.0])
def test_log_expected_improvement_is_the_expectation(best: float) -> None:
    mean, deviation = np.array([0.3]), np.array([0.7])
    samples = np.random.default_rng(0).normal(mean, deviation, DRAWS)
    expected = np.maximum(samples - best, 0).mean()
    actual = np.exp(log_expected_improvement(mean, deviation, best))[0]
    assert actual == pytest.approx(expected, rel=0.02)


def test_log_expected_improvement_falls_without_end_and_without_steps() -> None:
    z = -np.logspace(-1, 8, 500)
    actual = log_expected_improvement(z, np.ones_like(z), 0.0)
    assert np.isfinite(actual).all()
    assert (np.diff(actual) < 0).all()


def test_a_certain_candidate_improves_by_its_lead() -> None:
    actual = log_expected_improvement(np.array([1.5]), np.array([1e-12]), 1.0)
    assert np.exp(actual)[0] == pytest.approx(0.5)


def test_smallest_saves_nothing_at_the_incumbents_cost() -> None:
    scores = log_expected_saving(
        np.array([0.9, 0.9, 0.9]), np.full(3, 0.01), np.array([50.0, 100.0, 200.0]), 0.8, 100.0
    )
    assert np.isfinite(scores[0])
    assert scores[1] == scores[2] == -np.inf


def test_smallest_prefers_the_cheap_one_of_equally_good() -> None:
    scores = log_expected_saving(
        np.array([0.9, 0.9]), np.full(2, 0.05), np.array([10.0, 100.0]), 0.85, np.inf
    )
    assert scores[0] > scores[1]


def hypervolume(points: np.ndarray, reference: tuple[float, float]) -> float:
    """Area in (log cost, metric) that points (cost, metric) dominate, on a fine grid of costs."""
    costs = np.linspace(0.0, np.log(reference[0]), 20_001)
    best = np.full(len(costs), reference[1])
    for cost, metric in points:
        best = np.maximum(best, np.where(costs >= np.log(cost), metric, reference[1]))
    return float((best - reference[1]).mean() * np.log(reference[0]))


@pytest.mark.parametrize(
    "front",
    [
        pytest.param(np.empty((0, 2)), id="empty front"),
        pytest.param(np.array([[10.0, 0.6]]), id="one point"),
        pytest.param(np.array([[5.0, 0.4], [10.0, 0.6], [40.0, 0.8]]), id="three points"),
    ],
)
@pytest.mark.parametrize("cost", [3.0, 20.0, 60.0])
def test_front_value_is_the_expected_hypervolume_improvement(
    front: np.ndarray, cost: float
) -> None:
    reference = (100.0, 0.2)
    mean, deviation = 0.65, 0.15
    samples = np.random.default_rng(0).normal(mean, deviation, 300)
    before = hypervolume(front, reference)
    gains = [
        hypervolume(np.vstack([front, [[cost, value]]]), reference) - before for value in samples
    ]
    actual = np.exp(
        log_expected_hypervolume_improvement(
            np.array([mean]), np.array([deviation]), np.array([cost]), front, reference
        )
    )[0]
    assert actual == pytest.approx(np.mean(gains), rel=0.15, abs=2e-3)
