"""A training that goes wrong is recorded as what it is, and the search goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from rich.console import Console
from widthwise.search.spec.spec import parse_spec
from widthwise.search.study import create_or_join_study
from widthwise.storage.database.database import Database, resolve_url

MODEL = """
import torch
from torch import nn

class Moody(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        if self.width in {faults} and self.training and len(x) == 16:
            {fault}
        return self.layers(x)

def build(widths):
    return Moody(widths["a"])
"""
RAISE = "raise RuntimeError('the moon is full')"
NAN = "return self.layers(x) * float('nan')"
MEMORY = "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')"


def run_faulty_study(cli: Any, fault: str, faulty_widths: set[int], trials: int) -> None:
    """A study over four widths, faulty at some; traced at 32 samples a step, trained at 16."""
    cli.write("moody.py", MODEL.format(fault=fault, faults=faulty_widths))
    spec = parse_spec(
        {
            "study": {"name": "moody", "trials": trials},
            "model": {"build": "moody.py:build"},
            "widths": {"a": {"low": 2, "high": 5}},
            "proxy": {"data": "moody_data.py:load", "epochs": 2, "batch_size": 32},
        }
    )
    # 48 training rows: a step of 32 samples, as the costs are counted, then one of 16.
    cli.write(
        "moody_data.py",
        "import torch\n"
        "def load():\n"
        "    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))\n"
        "    y = x[:, :3].argmax(1)\n"
        "    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]\n",
    )
    with Database.open(resolve_url(cli.storage), create=True) as database:
        create_or_join_study(spec, Path(cli.folder), lambda: database, Console(quiet=True))


@pytest.mark.parametrize(
    ("fault", "outcome", "reason"),
    [
        pytest.param(NAN, "nan", "nan", id="not a number"),
        pytest.param(MEMORY, "out_of_memory", "memory ran out", id="out of memory"),
        pytest.param(RAISE, "error", "the moon is full", id="exception"),
    ],
)
def test_a_fault_at_one_width_is_recorded_and_the_search_goes_on(
    cli: Any, fault: str, outcome: str, reason: str
) -> None:
    # The largest: where memory runs out, nothing that is larger would be tried any more.
    run_faulty_study(cli, fault, {5}, 4)
    worked = cli.run_in_process("worker", "moody", "--threads", "1")
    assert worked.code == 0, worked.err
    report = cli.run_in_process("report", "moody", "--json").json
    assert report["trials"]["complete"] == 3
    assert report["trials"]["failed"] == 1
    assert [failure["outcome"] for failure in report["failures"]] == [outcome]
    assert report["failures"][0]["widths"] == {"a": 5}
    assert reason in report["failures"][0]["reason"]
    assert {trial["widths"]["a"] for trial in report["history"]} == {2, 3, 4}
    states = [t.state for t in optuna.load_study(study_name="moody", storage=cli.storage).trials]
    assert states.count(optuna.trial.TrialState.FAIL) == 1
    assert states.count(optuna.trial.TrialState.COMPLETE) == 3


def test_a_model_that_always_fails_stops_the_worker(cli: Any) -> None:
    run_faulty_study(cli, RAISE, {2, 3, 4, 5}, 4)
    worked = cli.run_in_process("worker", "moody", "--threads", "1")
    assert worked.code == 4
    assert "in a row" in worked.err
    assert "the moon is full" in worked.err
    assert "Traceback" not in worked.err
    trials = cli.run_in_process("status", "moody", "--json").json["trials"]
    # Three attempts a trial: two trials are given up, the others wait for a mended model.
    assert (trials["failed"], trials["waiting"], trials["complete"]) == (2, 2, 0)


LATENCY = """
import time
from torch import nn

class Slow(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        if self.width >= 4 and len(x) == 1:
            time.sleep(0.02)
        return self.layers(x)

def build(widths):
    return Slow(widths["a"])
"""


def test_no_training_is_spent_on_a_candidate_that_is_measured_too_slow(cli: Any) -> None:
    cli.write("slow.py", LATENCY)
    spec = parse_spec(
        {
            "study": {"name": "slow", "trials": 4},
            "model": {"build": "slow.py:build"},
            "widths": {"a": {"low": 2, "high": 5}},
            "limits": {"latency": "10 ms", "parameters": "1k"},
            "proxy": {"data": "iris", "epochs": 1},
        }
    )
    with Database.open(resolve_url(cli.storage), create=True) as database:
        create_or_join_study(spec, Path(cli.folder), lambda: database, Console(quiet=True))
    worked = cli.run_in_process("worker", "slow", "--threads", "1")
    assert worked.code == 0, worked.err
    report = cli.run_in_process("report", "slow", "--json").json
    assert {trial["widths"]["a"] for trial in report["history"]} == {2, 3}
    assert all(0 < trial["costs"]["latency"] < 0.01 for trial in report["history"])
    assert (report["trials"]["complete"], report["trials"]["pruned"]) == (2, 2)
    assert report["limits"] == {"parameters": 1000, "latency": 0.01}
    trials = optuna.load_study(study_name="slow", storage=cli.storage).trials
    for trial in trials:
        feasible = trial.params["a"] < 4
        assert (trial.constraints["latency"] <= 0) == feasible
        assert trial.constraints["parameters"] <= 0
        assert (trial.state == optuna.trial.TrialState.COMPLETE) == feasible
    assert "10 ms" in cli.run_in_process("report", "slow").out


GIVEN = """
from torch import nn

class Reads(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        return self.layers(x) if x.sum().item() > -1e9 else x

def build(widths):
    return Reads(widths["a"])

def costs(widths):
    return {"parameters": 8 * widths["a"] + 3}
"""


@pytest.mark.parametrize(
    ("limits", "costs", "code", "part"),
    [
        ({"parameters": 30}, {"costs": "reads.py:costs"}, 0, ""),
        ({"flops": "1k"}, {"costs": "reads.py:costs"}, 2, "flops"),
        ({"parameters": 30}, {}, 2, "item"),
    ],
    ids=["costs given", "limited cost not given", "cannot be traced"],
)
def test_a_model_that_cannot_be_traced_needs_its_costs_given(
    cli: Any, limits: dict[str, Any], costs: dict[str, str], code: int, part: str
) -> None:
    cli.write("reads.py", GIVEN)
    lines = [
        "study = { name = 'reads', trials = 2 }",
        f"model = {{ {toml({'build': 'reads.py:build', **costs})} }}",
        "widths = { a = { low = 1, high = 90 } }",
        f"limits = {{ {toml(limits)} }}",
        "proxy = { data = 'iris', epochs = 1 }",
    ]
    cli.write("reads.toml", "\n".join(lines))
    result = cli.run_in_process("check", "reads.toml")
    assert result.code == code, result.err
    assert part in result.err
    if code == 0:
        assert cli.run_in_process("run", "reads.toml").code == 0
        history = cli.run_in_process("report", "reads", "--json").json["history"]
        assert len(history) == 2
        assert all(
            trial["costs"] == {"parameters": 8 * trial["widths"]["a"] + 3} for trial in history
        )
        assert all(trial["widths"]["a"] <= 3 for trial in history)


def toml(values: dict[str, Any]) -> str:
    """Return the inside of an inline table."""
    return ", ".join(f"{key} = {value!r}" for key, value in values.items())
