"""`sweep` and `refine`, through the real command line, on trainings of a second."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.cli.studies.experiments import parse_shares
from widthwise.search.errors import SpecError
from widthwise.search.followup import follow_up
from widthwise.search.problem.seeds import experiment_seed
from widthwise.tests.search.conftest import CommandLine, copy_study

WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def study(iris_cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return copy_study(iris_cli, tmp_path_factory.mktemp("experiments"))


@pytest.fixture(scope="module")
def recommended(iris_cli: CommandLine) -> dict[str, Any]:
    report = json.loads((iris_cli.folder / "run.json").read_text())
    return dict(report["recommended"])


@pytest.fixture(scope="module")
def swept(study: CommandLine, recommended: dict[str, Any]) -> dict[str, Any]:
    """A sweep of `a` beside b = 16, at three values and one that breaks the limit."""
    at = f"b={recommended['widths']['b']}"
    values = sorted({recommended["widths"]["a"], 16, 32})
    result = study(
        "sweep", "iris", "--width", "a", "--values", ",".join(map(str, values)),
        "--at", at, "--seeds", "2", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    return dict(json.loads(result.out))


def slots(cli: CommandLine, name: str) -> list[tuple[Any, ...]]:
    """Widths, seed, overrides, state, outcome and attempts of every slot of a study."""
    with closing(sqlite3.connect(cli.folder / "study.db")) as connection:
        return connection.execute(
            "select s.widths, s.seed, s.overrides, s.state, s.outcome, s.attempts"
            " from widthwise_slot s join widthwise_study t on t.id = s.study_id"
            " where t.name = ? order by s.number",
            (name,),
        ).fetchall()


# The controlled table


def test_a_row_has_its_metrics_costs_and_a_verdict(swept: dict[str, Any]) -> None:
    assert swept["moved"] == ["a"]
    assert swept["metric"]["name"] == "accuracy"
    assert len(swept["seeds"]) == 2
    for row in swept["rows"]:
        a, b = row["widths"]["a"], row["widths"]["b"]
        assert a == row["value"]
        weights = 4 * a + a * b + b * 3
        assert row["costs"]["flops"] == 2 * weights
        assert row["costs"]["parameters"] == weights + a + b + 3
        breaks = 2 * weights > 1000 or row["costs"]["parameters"] > 400
        assert (row["verdict"] == "breaks a limit") == breaks
        if breaks:
            assert row["runs"] == []
            continue
        assert row["validation"]["seeds"] == row["train"]["seeds"] == 2
        assert all(0 <= run["train"] <= 1 for run in row["runs"])
        assert row["verdict"] in ("best", "as good", "no gain", "underfits", "overfits", "worse")
    assert [row["verdict"] for row in swept["rows"]].count("best") == 1


def test_the_training_that_selected_the_widths_does_not_judge_them(
    swept: dict[str, Any], recommended: dict[str, Any], study: CommandLine
) -> None:
    (row,) = [row for row in swept["rows"] if row["widths"] == recommended["widths"]]
    assert {run["study"] for run in row["runs"]} == {"iris/sweep a"}
    assert swept["seeds"] == sorted(experiment_seed(0, index) for index in range(2))
    trained = [row for row in swept["rows"] if row["runs"]]
    planned = slots(study, "iris/sweep a")
    assert len(planned) == 2 * len(trained)
    assert {slot[1] for slot in planned} == set(swept["seeds"])
    assert all(slot[4] == "complete" for slot in planned)


def test_a_second_call_trains_nothing(swept: dict[str, Any], study: CommandLine) -> None:
    before = slots(study, "iris/sweep a")
    values = ",".join(str(row["value"]) for row in swept["rows"])
    result = study.run_in_process(
        "sweep", "iris", "--width", "a", "--values", values,
        "--at", f"b={swept['fixed']['b']}", "--seeds", "2", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.json["rows"] == swept["rows"]
    assert slots(study, "iris/sweep a") == before


def test_what_an_earlier_sweep_trained_is_said_of_one_and_of_more(
    swept: dict[str, Any], study: CommandLine
) -> None:
    value = next(row["value"] for row in swept["rows"] if row["runs"])
    for seeds, said in (
        ("1", "1 training was done by an earlier sweep."),
        ("2", "2 trainings were done by earlier sweeps."),
    ):
        result = study.run_in_process(
            "sweep", "iris", "--width", "a", "--values", value,
            "--at", f"b={swept['fixed']['b']}", "--seeds", seeds, "--json",
        )  # fmt: skip
        assert result.code == 0, result.err
        assert said in result.json["sentences"]


def test_the_table_fits_a_terminal(
    swept: dict[str, Any], study: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    values = ",".join(str(row["value"]) for row in swept["rows"])
    result = study.run_in_process(
        "sweep", "iris", "--width", "a", "--values", values,
        "--at", f"b={swept['fixed']['b']}", "--seeds", "2",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert all(len(line) <= 80 for line in result.out.splitlines())
    assert "best" in result.out
    assert "parameters" in result.out


# The learning curve


def test_the_learning_curve_has_every_share_and_both_widths(study: CommandLine) -> None:
    result = study(
        "sweep", "iris", "--rows", "0.5,1", "--at", "a=4,b=4", "--seeds", "2", "--json"
    )  # fmt: skip
    assert result.code == 0, result.err
    curve = result.json
    assert curve["follow_up"] == "iris/learning curve"
    assert (curve["widths"], curve["wider"]) == ({"a": 4, "b": 4}, {"a": 8, "b": 8})
    # Five folds of 120 training and validation rows leave 96 of them to learn from.
    assert [(row["share"], row["rows"]) for row in curve["rows"]] == [(0.5, 48), (1.0, 96)]
    assert all(row["validation"]["seeds"] == 2 for row in curve["rows"])
    assert all(row["wider_validation"]["seeds"] == 2 for row in curve["rows"])
    assert curve["more_rows"]["seeds"] == curve["more_width"]["seeds"] == 2
    planned = slots(study, "iris/learning curve")
    assert len(planned) == 8
    assert {slot[2] for slot in planned} == {
        '{"proxy.train_share": 0.5}',
        '{"proxy.train_share": 1.0}',
    }


# Refining


def test_refining_keeps_its_budget_goes_on_and_trains_nothing_twice(
    iris_cli: CommandLine, tmp_path: Path
) -> None:
    cli = copy_study(iris_cli, tmp_path)
    first = cli("refine", "iris", "--trials", "3", "--json")
    assert first.code == 0, first.err
    assert first.json["verdict"] == "nothing to refine"
    assert all("3 trainings are not enough" in item["detail"] for item in first.json["decisions"])
    begun = slots(cli, "iris/refinement")
    assert len(begun) == 3
    second = cli("refine", "iris", "--trials", "32", "--json")
    assert second.code == 0, second.err
    found = second.json
    done = slots(cli, "iris/refinement")
    assert done[:3] == begun
    assert 9 <= len(done) <= 32
    assert len({slot[:3] for slot in done}) == len(done)
    assert {(slot[3], slot[5]) for slot in done} == {("done", 1)}
    rates = [item for item in found["decisions"] if item["axis"] == "learning rate"]
    assert rates[0]["option"] == "learning rate 0.0167"
    assert rates[0]["difference"]["seeds"] >= 3
    assert found["verdict"] in ("refined", "nothing to refine")
    assert (found["verdict"] == "refined") == bool(found["spec"])
    assert found["verdict_text"] == found["sentences"][0]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_interrupted_sweep_goes_on_and_ends_as_if_it_had_not_been(
    iris_cli: CommandLine, tmp_path: Path, how: signal.Signals
) -> None:
    arguments = ("sweep", "iris", "--width", "a", "--values", "4,8,16", "--at", "b=4")
    arguments = (*arguments, "--seeds", "40", "--json")
    cli = copy_study(iris_cli, tmp_path)
    process = cli.start(*arguments)
    deadline = time.monotonic() + WAIT_SECONDS
    while not any(slot[3] == "done" for slot in slots(cli, "iris/sweep a")):
        assert time.monotonic() < deadline, "nothing was trained"
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(how)
    _, stderr_text = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode != 0
    if how is signal.SIGINT:
        own = " ".join(arguments[:-1])  # all but --json
        assert f"`widthwise {own}` goes on" in stderr_text
    result = cli(*arguments, timeout=WAIT_SECONDS)
    assert result.code == 0, result.err
    done = slots(cli, "iris/sweep a")
    assert len(done) == len({slot[:3] for slot in done}) == 3 * 40
    assert {slot[4] for slot in done} == {"complete"}
    # The training of a seed is the same whoever did it, and however often it was begun.
    again = cli.run_in_process(*arguments)
    assert again.json["rows"] == result.json["rows"]


@pytest.mark.parametrize(
    "arguments",
    [
        "sweep iris --width a --values 4,8 --at b=4 --seeds 2",
        "sweep iris --width a --seeds 3",
        "sweep iris --rows 0.123,0.123456789,1 --at a=4,b=4 --seeds 2",
        "sweep iris --rows auto --seeds 3",
        "refine iris --trials 5",
        "refine iris",
    ],
)
def test_what_goes_on_with_a_stopped_experiment_is_what_was_asked_for(
    iris_cli: CommandLine, tmp_path: Path, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = copy_study(iris_cli, tmp_path)
    monkeypatch.setattr(follow_up, "run_fleet", lambda *_arguments, **_options: 75)
    result = cli.run_in_process(*arguments.split())
    assert result.code == 75
    assert f"`widthwise {arguments}` goes on" in result.err


# Bad input


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sweep", "iris"], "found neither of --width and --rows"),
        (["sweep", "iris", "--width", "a", "--rows", "auto"], "found both of --width and --rows"),
        (["sweep", "iris", "--width", "c"], '--width: found "c", expected one of the widths'),
        (["sweep", "nobody", "--width", "a"], "nobody"),
        (["refine", "nobody"], "nobody"),
        (
            ["sweep", "iris", "--width", "a", "--values", "5"],
            "--values: 5 cannot be trained: width",
        ),
        (
            ["sweep", "iris", "--width", "b", "--values", "16", "--at", "a=4"],
            "--values: 16 cannot be trained: ",
        ),
        (["sweep", "iris", "--width", "a", "--values", "1.5"], '--values: found "1.5"'),
        (["sweep", "iris", "--width", "a", "--values", ","], '--values: found ","'),
        (["sweep", "iris", "--width", "a", "--at", "a=4"], "--at: a is the width that moves"),
        (
            ["sweep", "iris", "--width", "a", "--at", "z=4"],
            '--at: found "z", expected some of the widths',
        ),
        (["sweep", "iris", "--width", "a", "--at", "b"], '--at: found "b", expected NAME=NUMBER'),
        (["sweep", "iris", "--width", "a", "--at", "b=5"], "--at: width 'b' is 5, expected one of"),
        (["sweep", "iris", "--width", "a", "--seeds", "0"], "--seeds"),
        (["sweep", "iris", "--rows", "0.5,2"], '--rows: found "2", expected a share'),
        (["sweep", "iris", "--rows", "0.5", "--values", "4"], "--values goes with --width"),
        (["sweep", "iris", "--rows", "0.01,1"], "--rows: 0.01 of 96 training rows are 2, too few"),
        (["refine", "iris", "--trials", "0"], "--trials"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence(
    study: CommandLine, arguments: list[str], sentence: str
) -> None:
    before = slots(study, "iris/sweep a")
    result = study.run_in_process(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert sentence in result.err
    assert "Traceback" not in result.err
    assert slots(study, "iris/sweep a") == before


@pytest.mark.parametrize("verb", [["sweep", "s", "--width", "a"], ["refine", "s"]])
def test_without_a_complete_trial_nothing_is_recommended(
    cli: CommandLine, verb: list[str], iris_cli: CommandLine
) -> None:
    text = (iris_cli.folder / "iris.toml").read_text().replace('name = "iris"', 'name = "s"')
    cli.write("s.toml", text)
    assert cli.run_in_process("submit", "s.toml").code == 0
    result = cli.run_in_process(*verb)
    assert result.code == 2
    assert "s: no trial is complete yet, so no widths are recommended" in result.err


def test_a_model_that_is_gone_or_changed_is_refused(cli: CommandLine) -> None:
    model = cli.write(
        "model.py",
        "from torch import nn\n"
        "def build(widths):\n"
        "    a = widths['a']\n"
        "    return nn.Sequential(nn.Linear(4, a), nn.ReLU(), nn.Linear(a, 3))\n",
    )
    cli.write(
        "own.toml",
        'study = { name = "own", trials = 2 }\nmodel = { build = "model.py:build" }\n'
        'widths = { a = [4, 8] }\nproxy = { data = "iris", epochs = 1 }\n',
    )
    assert cli.run_in_process("submit", "own.toml").code == 0
    model.write_text(model.read_text() + "# changed\n")
    changed = cli.run_in_process("sweep", "own", "--width", "a", "--at", "a=4")
    assert changed.code == 2  # `a` is the width that moves
    changed = cli.run_in_process("sweep", "own", "--rows", "auto", "--at", "a=4")
    assert changed.code == 5
    assert "was made with other code or data" in changed.err
    model.unlink()
    gone = cli.run_in_process("sweep", "own", "--rows", "auto", "--at", "a=4")
    assert gone.code == 2
    assert "model.py" in gone.err
    assert slots(cli, "own/learning curve") == []


@pytest.mark.parametrize(
    ("text", "shares"), [("auto", None), ("[0.1, 1]", [0.1, 1.0]), (".5,1.0,", [0.5, 1.0])]
)
def test_shares_as_people_write_them(text: str, shares: list[float] | None) -> None:
    assert parse_shares(text) == shares


@pytest.mark.parametrize("text", ["", "x", "0", "1e-3", "nan", "-0.5", "1.01", "[]"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(SpecError, match=r"^--rows: found"):
        parse_shares(text)
