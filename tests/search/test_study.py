"""Studies that are there already: the same spec joins them, another one is refused at once."""

from __future__ import annotations

from typing import Any

import pytest
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.slot import StudyStatus
from widthwise.storage.study.control import set_status
from widthwise.storage.study.study import load_study
from widthwise.storage.study.untrained import stop_untrained

SPEC = """
[study]
name = "{name}"
trials = {trials}
[model]
build = "model.py:build"
[widths]
a = {widths}
[limits]
flops = "{flops}"
[references]
today = {{ a = 4 }}
[proxy]
data = "iris"
epochs = {epochs}
"""
MODEL = """
from pathlib import Path
from torch import nn
Path("imported").touch()
def build(widths):
    return nn.Sequential(nn.Linear(4, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))
"""


def write_spec(cli: Any, **changes: Any) -> None:
    values = {"name": "my study/1", "trials": 2, "widths": "[2, 4]", "flops": "1k", "epochs": 1}
    cli.write("s.toml", SPEC.format(**{**values, **changes}))
    cli.write("model.py", MODEL)


@pytest.fixture
def submitted(cli: Any) -> Any:
    write_spec(cli)
    result = cli.run_in_process("submit", "s.toml")
    assert result.code == 0, result.err
    assert "`widthwise status 'my study/1'`" in result.out
    (cli.folder / "imported").unlink()
    return cli


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"epochs": 7}, ["proxy.epochs is 7 here and 1 there"]),
        ({"widths": "[2, 4, 8]"}, ["widths.a.choices is [2, 4, 8] here and [2, 4] there"]),
        (
            {"flops": "2k", "epochs": 3},
            ["limits.flops is 2000 here and 1000 there", "proxy.epochs is 3 here and 1 there"],
        ),
    ],
    ids=["one key", "widths", "two keys"],
)
def test_another_spec_is_refused_before_the_model_is_loaded(
    submitted: Any, changes: dict[str, Any], parts: list[str]
) -> None:
    write_spec(submitted, **changes)
    for verb in ("run", "submit"):
        result = submitted.run_in_process(verb, "s.toml")
        assert (result.code, result.out) == (5, "")
        (line,) = result.err.splitlines()
        assert line.startswith("error: study my study/1 was started with another spec: ")
        for part in parts:
            assert part in line
    assert not (submitted.folder / "imported").exists()


def test_other_code_is_refused_before_the_model_is_loaded(submitted: Any) -> None:
    submitted.write("model.py", MODEL + "# changed\n")
    result = submitted.run_in_process("submit", "s.toml")
    assert result.code == 5
    assert "other code or data" in result.err
    assert not (submitted.folder / "imported").exists()


def test_a_share_that_comes_to_another_number_is_named_once_it_is_known(submitted: Any) -> None:
    write_spec(submitted, flops="90% of today")
    result = submitted.run_in_process("submit", "s.toml")
    assert result.code == 5
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "limits.flops is " in errors[0]
    assert "here and 1000 there" in errors[0]


def test_what_changes_no_result_joins_the_study(submitted: Any) -> None:
    write_spec(submitted, trials=3)
    result = submitted.run_in_process("submit", "s.toml", "--json")
    assert (result.code, result.json["budget"]) == (0, 3)
    assert "is there already with the same spec" in result.err


def test_nothing_is_made_by_looking_for_a_study(cli: Any) -> None:
    write_spec(cli, flops=1)
    assert cli.run_in_process("submit", "s.toml").code == 3
    assert not (cli.folder / "study.db").exists()


@pytest.mark.slow
def test_no_trials_are_proposed_once_every_candidate_was_tried(cli: Any) -> None:
    write_spec(cli)
    spent = cli.run_in_process("run", "s.toml")
    assert spent.code == 0, spent.err
    more = cli.run_in_process("resume", "my study/1", "--trials", "5")
    assert more.code == 0, more.err
    assert "every feasible candidate was tried: 2 trials" in more.err
    for result in (spent, more):
        assert "dashboard 'my study/1'" in result.err
        assert "more trials would find nothing new" in result.err
        assert "+20" not in result.err


@pytest.mark.parametrize("learned", [True, False])
def test_what_opens_a_study_again_is_what_does(submitted: Any, *, learned: bool) -> None:
    with Database.open(resolve_url(submitted.storage)) as database:
        study = load_study(database, "my study/1")
        if learned:
            set_status(database, study, StudyStatus.CANCELLED, worker="ann")
        else:
            stop_untrained(database, study, "All is flat.", worker="ann")
    command = "continue 'my study/1'" if learned else "resume 'my study/1' --untrained-ok"
    paused = submitted.run_in_process("pause", "my study/1")
    assert paused.code == 2
    assert f"nothing to pause; `widthwise {command}` opens it again" in paused.err
    again = submitted.run_in_process("submit", "s.toml")
    assert again.code == 0, again.err
    assert f"it is cancelled: `widthwise {command}` opens it" in again.out
