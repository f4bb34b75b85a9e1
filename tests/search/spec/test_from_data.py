"""A spec without a spec file, and flags in place of a file's values."""

from __future__ import annotations

from pathlib import Path

import pytest
from widthwise.objectives.model.family_registry import FAMILIES
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


@pytest.mark.parametrize(
    ("rows", "high"),
    [
        pytest.param(60, 64, id="fewer than the least bound"),
        pytest.param(178, 128, id="the power of two below"),
        pytest.param(256, 256, id="a power of two"),
        pytest.param(2000, 512, id="more than the widest default"),
    ],
)
def test_widths_of_few_rows_end_at_as_many_neurons(tmp_path: Path, rows: int, high: int) -> None:
    lines = ["a;b", *(f"{row};?" if row == 3 else f"{row};{row % 7}" for row in range(rows))]
    (tmp_path / "few.csv").write_text("\n".join(lines) + "\n")
    sections = sections_from_data(
        str(tmp_path / "few.csv"), family="mlp", target="b", missing=["?"], separator=";"
    )
    widths = sections["widths"]
    assert [widths[name]["high"] for name in ("hidden1", "hidden2")] == [high, high]
    assert FAMILIES["mlp"].default_widths["hidden1"]["high"] == 512


def test_data_that_cannot_be_read_is_refused_where_it_is_loaded(tmp_path: Path) -> None:
    sections = sections_from_data(str(tmp_path / "none.csv"), family="mlp", target="b")
    assert sections["widths"]["hidden1"]["high"] == 512
