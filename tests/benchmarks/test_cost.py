"""The cost benchmark: what a tool cannot answer is said, and errors are shown as percentages."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from widthwise.benchmarks.cost import tools
from widthwise.benchmarks.cost.__main__ import _format_percent, _macs_table
from widthwise.benchmarks.cost.tools import ToolCounts, count_with_tool


def unsupported(model: nn.Module, inputs: Tensor) -> ToolCounts:
    import no_such_counter  # noqa: F401

    raise AssertionError("unreachable")


def raising(model: nn.Module, inputs: Tensor) -> ToolCounts:
    raise ValueError("no hook")


def correct(model: nn.Module, inputs: Tensor) -> ToolCounts:
    print("chatter")  # noqa: T201
    assert not model.training
    return ToolCounts(parameters=8, macs=6)


@pytest.mark.parametrize(
    ("tool", "answer"),
    [
        (unsupported, ToolCounts(problem="not installed (no_such_counter)")),
        (raising, ToolCounts(problem="fails (ValueError)")),
        (correct, ToolCounts(parameters=8, macs=6)),
    ],
    ids=["not installed", "raises", "answers"],
)
def test_a_tool_answers_or_says_why_not(
    tool: Callable[..., ToolCounts],
    answer: ToolCounts,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(tools.TOOLS, "tool", tool)
    assert count_with_tool("tool", lambda: nn.Linear(3, 2), torch.zeros(1, 3)) == answer
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "text"),
    [(0.0, "0"), (None, "none"), (-0.013, "-0.013 %"), (913.7, "+914 %")],
)
def test_errors_are_formatted_in_percent(error: float | None, text: str) -> None:
    assert _format_percent(error) == text


def test_a_table_has_a_column_for_each_tool() -> None:
    own = {"parameters": 0.0, "macs": 0.0, "step": 0.0}
    errors = {
        name: {"parameters": 0.0, "macs": 50.0, "problem": "fails" if name == "thop" else None}
        for name in tools.TOOLS
    }
    row = {
        "network": "MLP",
        "macs": 1_000,
        "step_over_forward": 2.5,
        "errors": {"widthwise": own, **errors},
    }
    *_, head, rule, line = _macs_table([row]).splitlines()
    assert line == "| MLP | 1,000 | 2.500 | 0 | 0 | +50 % | fails | +50 % | +50 % | +50 % |"
    assert head.count("|") == rule.count("|") == line.count("|")
