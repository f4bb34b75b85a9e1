"""A spec without a spec file, and flags in place of a file's values."""

from __future__ import annotations

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.goal import GoalKind
from widthwise.search.spec.from_data import override_sections, sections_from_data
from widthwise.search.spec.spec import Spec, parse_spec


def spec_with(**flags: object) -> Spec:
    sections = sections_from_data("iris", family="mlp")
    values = {"name": None, "trials": None, "seed": None, "device": None, "limits": {}, **flags}
    return parse_spec(override_sections(sections, **values))  # type: ignore[arg-type]


def test_a_goal_by_flags() -> None:
    assert spec_with().study.goal is GoalKind.BEST
    smallest = spec_with(goal="smallest").study
    assert (smallest.goal, smallest.target) == (GoalKind.SMALLEST, None)
    assert spec_with(goal="smallest", target=0.9).study.target == 0.9
    assert spec_with(goal="front").goal_for("maximize").kind is GoalKind.FRONT


def test_a_target_goes_with_the_goal_smallest() -> None:
    with pytest.raises(SpecError, match="target goes with goal"):
        spec_with(target=0.9)


def test_flags_replace_the_values_and_leave_the_others() -> None:
    spec = spec_with(name="other", trials=7, limits={"flops": "9k", "parameters": None})
    assert (spec.name, spec.study.trials, spec.study.seed) == ("other", 7, 0)
    assert spec.limits.flops == 9000
    assert spec.limits.parameters is None
