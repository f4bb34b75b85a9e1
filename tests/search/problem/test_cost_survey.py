"""What `widthwise cost` counts: candidates from files, and one candidate or all of a builder."""

from __future__ import annotations

from pathlib import Path

import pytest
from widthwise.objectives.training.step import StepSpec, TensorSpec
from widthwise.search.errors import SpecError
from widthwise.search.problem.cost_survey import from_build, read_candidates

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
