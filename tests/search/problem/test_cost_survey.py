"""What `widthwise cost` counts: candidates from files, and one candidate or all of a builder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from torch import nn
from widthwise.objectives.cost.user_costs import UserCostModel
from widthwise.objectives.training.step import StepSpec, TensorSpec
from widthwise.search.errors import SpecError
from widthwise.search.problem.cost_survey import CostSurvey, from_build, read_candidates
from widthwise.search.space.limits import Limits

BUILDER = """
from torch import nn

def build(widths):
    return nn.Sequential(nn.Linear(3, widths["a"]), nn.Linear(widths["a"], 2))
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.csv", "a,b\n1, 2\n3,4\n"), ("c.json", '[{"a": 1, "b": "2"}, {"a": 3, "b": 4}]')],
)
def test_candidates_are_read_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_candidates(tmp_path / name) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", "a,b\n1,two\n", "whole numbers for each"),
        ("c.json", '[{"a": 1.0}]', "whole numbers for each"),
        ("c.json", "{", "whole numbers for each"),
        ("c.csv", "a,b\n", "holds no candidate"),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=message):
        read_candidates(tmp_path / name)


def test_a_builder_alone_is_counted_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models.py").write_text(BUILDER)
    monkeypatch.chdir(tmp_path)
    inputs = (TensorSpec(shape=(3,)),)
    survey = from_build("models.py:build", StepSpec(inputs=inputs, batch_size=5, optimizer="sgd"))
    assert survey.count({"a": 7}).parameters == 7 * 4 + 2 * 8
    assert [module["macs"] for module in survey.count_by_module({"a": 7})] == [35, 21, 14]


def test_a_candidate_is_traced_once_for_each_device() -> None:
    builds = []

    def build(widths: Mapping[str, int]) -> nn.Module:
        builds.append(widths["a"])
        return nn.Linear(3, widths["a"])

    step = StepSpec(inputs=(TensorSpec(shape=(3,)),), batch_size=5, device_type="cuda")
    survey = CostSurvey(build=build, step=step, space=None, limits=Limits(), device="cuda")
    costs = survey.count({"a": 7})
    once = len(builds)
    by_device = survey.memory_elsewhere({"a": 7}, costs)
    assert len(builds) == 2 * once
    assert by_device["cuda"] == costs.as_dict()["train_memory"] > by_device["cpu"] > 0


def test_costs_of_a_function_are_no_estimate_for_a_gpu() -> None:
    step = StepSpec(inputs=(TensorSpec(shape=(3,)),), batch_size=5, device_type="cuda")
    given = UserCostModel(lambda widths: {"train_memory": widths["a"]}, ("a",))
    survey = CostSurvey(
        build=lambda widths: nn.Linear(3, widths["a"]),
        step=step,
        space=None,
        limits=Limits(),
        device="cuda",
        given_costs=given,
    )
    assert not survey.counts_for_gpu
    assert survey.memory_elsewhere({"a": 7}, survey.count({"a": 7})) == {}
