"""Goals: signs, targets and fronts."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.search.goal import (
    Goal,
    confidently_meets_target,
    is_good_enough,
    meets_target,
    pareto_front,
    settle_target,
)


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


def test_without_a_target_one_standard_error_below_the_best_is_good_enough() -> None:
    goal = Goal(kind="smallest")
    mean = np.array([0.90, 0.89, 0.885, 0.95])
    deviation = np.array([0.012, 0.001, 0.05, 0.3])
    # The last one's mean is the greatest and tells nothing; 0.90 − 0.012 = 0.888.
    assert is_good_enough(mean, deviation, goal).tolist() == [True, True, False, True]
    assert is_good_enough(mean, deviation, Goal(kind="smallest", target=0.88)).tolist() == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("direction", "target"), [("maximize", 0.48), ("minimize", 0.52)])
def test_a_target_is_settled_on_the_worse_side_of_the_best(direction: str, target: float) -> None:
    goal = Goal(kind="smallest", direction=direction)  # type: ignore[arg-type]
    assert settle_target(goal, 0.5, 0.02).target == pytest.approx(target)
    assert settle_target(Goal(kind="smallest", target=0.9), 0.5, 0.02).target == 0.9
    assert settle_target(Goal(), 0.5, 0.02).target is None


def test_a_front_has_no_member_that_another_beats() -> None:
    rng = np.random.default_rng(0)
    cost, metric = rng.integers(1, 50, 200).astype(float), rng.normal(size=200)
    front = pareto_front(cost, metric)
    assert (np.diff(cost[front]) > 0).all()
    assert (np.diff(metric[front]) > 0).all()
    for index in range(200):
        assert ((cost[front] <= cost[index]) & (metric[front] >= metric[index])).any()
