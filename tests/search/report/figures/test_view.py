"""What figures see of a study."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.tests.search.report.made_study import make_study, truth


def test_the_order_is_from_the_best_to_the_worst() -> None:
    study = make_study()
    assert (np.diff(study.values[study.order]) <= 0).all()


def test_beliefs_are_nearer_to_the_truth_than_single_trainings() -> None:
    study = make_study(30, noise=0.01)
    assert study.beliefs is not None
    known = np.asarray([truth(trial.widths) for trial in study.trials])
    believed = np.abs(study.beliefs[0] - known).mean()
    assert believed < 0.7 * np.abs(study.values - known).mean()


def test_an_untrained_outlier_does_not_squash_the_others() -> None:
    study = make_study()
    low, high = study.span
    assert low > 0.5, "the constant prediction at 0.1 is told, not drawn"
    assert study.outside(0.1) == "below"
    assert study.outside((low + high) / 2) is None


@pytest.mark.parametrize(
    ("goal", "cost"), [({}, "parameters"), ({"goal": "front", "cost": "flops"}, "flops")]
)
def test_the_cost_is_the_goals_or_the_first_limited_one(goal: dict[str, str], cost: str) -> None:
    assert make_study(5, study=goal).cost == cost


def test_the_front_is_beaten_by_nobody() -> None:
    study = make_study(30)
    front = study.front
    assert front
    for member in front:
        assert not [
            trial
            for trial in study.trials
            if trial.value > member.value
            and trial.costs["parameters"] <= member.costs["parameters"]
        ]
