"""Seeds as blocks: the noise is estimated beside them, differences are told at the rate said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from widthwise.search.report.experiments.seed_noise import (
    Noise,
    compare,
    mean_and_error,
    residual_noise,
)


def planted(
    means: list[float], seeds: int, rng: np.random.Generator, noise: float = 1.0
) -> dict[int, dict[int, float]]:
    """Values of settings, with an effect of each seed that is five times the noise."""
    blocks = 5 * noise * rng.standard_normal(seeds)
    return {
        index: {seed: mean + blocks[seed] + noise * rng.standard_normal() for seed in range(seeds)}
        for index, mean in enumerate(means)
    }


def test_complete_blocks_have_the_textbook_residual() -> None:
    values = planted([0.0, 1.0, 4.0], 5, np.random.default_rng(0))
    table = np.array([list(by_seed.values()) for by_seed in values.values()])
    residual = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    noise = residual_noise(values)
    assert noise is not None
    assert noise.freedom == 2 * 4
    assert noise.deviation == pytest.approx(math.sqrt((residual**2).sum() / 8))


def test_missing_trainings_leave_the_noise_unbiased() -> None:
    rng, variances = np.random.default_rng(1), []
    for _ in range(400):
        values = planted([0.0, 2.0, -1.0, 3.0], 4, rng, noise=0.5)
        del values[0][3], values[2][0]
        noise = residual_noise(values)
        assert noise is not None
        assert noise.freedom == 14 - 4 - 4 + 1
        variances.append(noise.deviation**2)
    assert np.mean(variances) == pytest.approx(0.25, abs=4 * 0.25 * math.sqrt(2 / 7 / 400))


@pytest.mark.parametrize("values", [{}, {1: {}}, {1: {7: 1.0}, 2: {7: 2.0}}, {1: {1: 1.0, 2: 3.0}}])
def test_nothing_tells_the_noise_of_one_seed_or_of_one_setting(
    values: dict[int, dict[int, float]],
) -> None:
    assert residual_noise(values) is None


def test_two_settings_are_students_paired_t() -> None:
    values = planted([0.0, 0.7], 6, np.random.default_rng(2))
    first, second = values[1], values[0]
    difference = compare(first, second, residual_noise(values), error=0.05)
    paired = stats.ttest_rel(list(first.values()), list(second.values()))
    interval = paired.confidence_interval(0.95)
    assert difference.mean - difference.half_width == pytest.approx(interval.low)
    assert difference.mean + difference.half_width == pytest.approx(interval.high)


def test_equal_settings_are_told_apart_as_often_as_said() -> None:
    rng, told, rounds = np.random.default_rng(3), 0, 3000
    for _ in range(rounds):
        values = planted([0.0] * 5, 3, rng)
        told += compare(values[1], values[0], residual_noise(values), error=0.10).is_positive
    assert abs(told / rounds - 0.05) < 4 * math.sqrt(0.05 * 0.95 / rounds)


def test_the_best_of_equal_settings_is_told_from_the_others_as_rarely_as_said() -> None:
    rng, told, rounds = np.random.default_rng(4), 0, 1000
    for _ in range(rounds):
        values = planted([0.0] * 6, 3, rng)
        means = {index: np.mean(list(by_seed.values())) for index, by_seed in values.items()}
        best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        noise = residual_noise(values)
        difference = compare(values[best], values[worst], noise, error=0.05, settings=6)
        told += difference.is_positive
    assert told / rounds < 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)


def test_a_pair_that_scatters_far_more_is_judged_by_itself() -> None:
    wild = {0: 3.0, 1: -1.0, 2: 2.5, 3: -0.5}
    noise = Noise(deviation=0.001, freedom=24)
    difference = compare(wild, dict.fromkeys(range(4), 0.0), noise, error=0.05)
    paired = stats.ttest_1samp(list(wild.values()), 0.0).confidence_interval(0.95)
    assert difference.half_width == pytest.approx((paired.high - paired.low) / 2)


def test_one_seed_is_judged_by_a_noise_known_otherwise_or_not_at_all() -> None:
    known = compare({1: 3.0}, {1: 1.0}, Noise(deviation=1.0, freedom=math.inf), error=0.05)
    assert known.half_width == pytest.approx(1.95996 * math.sqrt(2), abs=1e-3)
    assert not known.is_positive
    unknown = compare({1: 3.0}, {1: 1.0}, None, error=0.05)
    assert math.isinf(unknown.half_width)
    assert not unknown.is_positive
    assert not unknown.is_negative


def test_mean_and_error() -> None:
    assert mean_and_error({1: 2.0, 5: 4.0}) == (3.0, pytest.approx(1.0))
    assert mean_and_error({1: 2.0}) == (2.0, None)
