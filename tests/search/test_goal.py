"""Goals: signs, targets and fronts."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.search.goal import Goal, confidently_meets_target, meets_target, pareto_front


@pytest.mark.parametrize(
    ("direction", "expected"), [("maximize", [False, True]), ("minimize", [True, False])]
)
def test_a_target_is_met_from_the_right_side(direction: str, expected: list[bool]) -> None:
    goal = Goal(kind="smallest", direction=direction, target=0.5)  # type: ignore[arg-type]
    assert meets_target(goal.sign * np.array([0.4, 0.6]), goal).tolist() == expected


def test_confidence_asks_for_a_margin_of_the_deviation() -> None:
    goal = Goal(kind="smallest", target=0.5)
    mean, deviation = np.array([0.6, 0.6, 0.5]), np.array([0.05, 0.1, 0.0])
    # 0.6 − 1.28 × 0.1 = 0.47 is not enough.
    assert confidently_meets_target(mean, deviation, goal).tolist() == [True, False, True]


def test_a_front_has_no_member_that_another_beats() -> None:
    rng = np.random.default_rng(0)
    cost, metric = rng.integers(1, 50, 200).astype(float), rng.normal(size=200)
    front = pareto_front(cost, metric)
    assert (np.diff(cost[front]) > 0).all()
    assert (np.diff(metric[front]) > 0).all()
    for index in range(200):
        assert ((cost[front] <= cost[index]) & (metric[front] >= metric[index])).any()
