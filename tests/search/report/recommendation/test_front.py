"""The front and its knee, by hand and by another road."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.search.report.recommendation.front import MAX_FRONT, knee_index, posterior_front


def test_the_worked_example() -> None:
    assert knee_index(np.array([1.0, 10.0, 100.0]), np.array([0.0, 0.8, 1.0])) == 1


@pytest.mark.parametrize("knee", [3, 10, 40])
def test_the_corner_of_two_lines_is_the_knee(knee: int) -> None:
    steps = np.arange(50)
    mean = np.where(steps <= knee, steps * 1.0, knee + (steps - knee) * 0.01)
    assert knee_index(np.exp(0.1 * steps), mean) == knee
    assert knee_index(1e6 * np.exp(0.1 * steps), 5.0 + 100 * mean) == knee, "units change nothing"


@pytest.mark.parametrize(
    ("cost", "mean"),
    [
        pytest.param([1.0, 2.0], [0.0, 1.0], id="two points"),
        pytest.param([1.0, 10.0, 100.0], [0.0, 0.5, 1.0], id="a straight line"),
        pytest.param([1.0, 10.0, 100.0], [0.0, 0.2, 1.0], id="a convex front"),
        pytest.param([5.0, 5.0, 5.0], [0.0, 0.2, 1.0], id="one cost"),
    ],
)
def test_without_a_bend_there_is_no_knee(cost: list[float], mean: list[float]) -> None:
    assert knee_index(np.array(cost), np.array(mean)) is None


def test_none_of_a_front_is_beaten_and_a_long_one_is_thinned() -> None:
    rng = np.random.default_rng(0)
    cost = np.exp(rng.uniform(0, 10, 4000))
    mean = 1 - np.exp(-0.4 * np.log(cost)) + rng.normal(0, 0.01, 4000)
    front = posterior_front(cost, mean)
    assert 3 <= len(front) <= MAX_FRONT + 1
    for index in front:
        assert not ((cost <= cost[index]) & (mean > mean[index])).any()
    assert (np.diff(cost[front]) > 0).all()
    assert mean.argmax() == front[-1]
    assert cost.argmin() == front[0]
    knee = knee_index(cost[front], mean[front])
    assert knee is not None
