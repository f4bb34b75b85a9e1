"""The command line from a spec to an answer, and every verb on the study it leaves."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import optuna
import pytest
from widthwise.storage.projection.dashboard import DashboardServer

LIMITS = {"flops": 1000, "parameters": 400, "train_memory": 256 * 1024}


@pytest.fixture(scope="module")
def report(iris_cli: Any) -> dict[str, Any]:
    return dict(json.loads((iris_cli.folder / "run.json").read_text()))


def test_a_run_spends_its_budget_exactly(report: dict[str, Any]) -> None:
    assert report["budget"] == 8
    assert report["trials"] == {
        "complete": 8,
        "running": 0,
        "failed": 0,
        "pruned": 0,
        "waiting": 0,
    }
    assert sorted(trial["trial"] for trial in report["history"]) == list(range(8))


def test_no_trial_breaks_a_limit_and_none_is_tried_twice(report: dict[str, Any]) -> None:
    for trial in report["history"]:
        widths, costs = trial["widths"], trial["costs"]
        assert widths["a"] >= widths["b"]
        # From first principles: 4 inputs, 3 classes, two hidden layers with biases.
        weights = 4 * widths["a"] + widths["a"] * widths["b"] + widths["b"] * 3
        assert costs["parameters"] == weights + widths["a"] + widths["b"] + 3
        assert costs["flops"] == 2 * costs["macs"] == 2 * weights
        assert all(costs[name] <= bound for name, bound in LIMITS.items())
    assert len({tuple(trial["widths"].items()) for trial in report["history"]}) == 8


def test_the_baselines_come_first_and_the_answer_is_judged_by_them(report: dict[str, Any]) -> None:
    names = ("largest that fits", "uniform scaling", "rule of thumb")
    networks = [report["baselines"][name] for name in names]
    # Two workers that begin at once may propose the same one; the loser goes on to the next.
    assert all(network["trial"] <= len(names) for network in networks)
    assert all(network["value"] == network["metric"]["value"] for network in networks)
    assert report["verdict"] in {"gain", "no gain", "undecided"}
    assert report["verdict_text"]
    assert report["best"]["metric"]["value"] == max(
        trial["metric"]["value"] for trial in report["history"]
    )
    assert report["best"]["test"] is None  # nothing was confirmed


def test_progress_goes_to_stderr_and_data_to_stdout(iris_cli: Any) -> None:
    stderr_text = (iris_cli.folder / "run.err").read_text()
    assert "trial 0: accuracy" in stderr_text
    assert "within the limits" in stderr_text
    assert "resume iris --trials +20" in stderr_text


def test_status_and_best_keep_their_promised_form(iris_cli: Any, report: dict[str, Any]) -> None:
    status = iris_cli.run_in_process("status", "iris", "--json").json
    assert status["study"] == "iris"
    assert status["budget"] == 8
    assert status["trials"] == report["trials"]
    best = iris_cli.run_in_process("best", "iris", "--json").json
    assert best["widths"] == report["best"]["widths"]
    assert best["metric"] == report["best"]["metric"]
    assert best["metric"]["name"] == "accuracy"
    assert {"parameters", "macs", "flops", "train_memory"} <= set(best["costs"])
    taken = best["recommended"]
    assert taken["estimate"]["low"] < taken["estimate"]["mean"] < taken["estimate"]["high"]
    is_trained = taken["widths"] in [trial["widths"] for trial in report["history"]]
    assert (taken["trial"] is not None) == is_trained
    weights = 4 * taken["widths"]["a"] + (taken["widths"]["a"] + 3) * taken["widths"]["b"]
    assert taken["costs"]["flops"] == 2 * weights <= LIMITS["flops"]


def test_the_verbs_speak_to_people_too(iris_cli: Any) -> None:
    status = iris_cli.run_in_process("status").out
    assert "iris" in status
    assert "finished" in status
    best = iris_cli.run_in_process("best", "iris").out
    assert "recommended: a=" in best
    assert "believed to have accuracy" in best
    text = iris_cli.run_in_process("report", "iris").out
    assert text.startswith("# iris\n")
    assert "| largest that fits" in text
    assert text.count("| a=") >= 8
    assert iris_cli.run_in_process("report", "iris", "--json").json["study"] == "iris"
    written = iris_cli.run_in_process("report", "iris", "--output", "report.md")
    assert (written.code, written.out) == (0, "")
    assert (iris_cli.folder / "report.md").read_text() == text


def test_optunas_tables_show_what_the_ledger_holds(iris_cli: Any, report: dict[str, Any]) -> None:
    study = optuna.load_study(study_name="iris", storage=iris_cli.storage)
    assert len(study.trials) == 8
    by_widths = {tuple(t.params.items()): t for t in study.trials}
    for trial in report["history"]:
        optuna_trial = by_widths[tuple(trial["widths"].items())]
        assert optuna_trial.state == optuna.trial.TrialState.COMPLETE
        assert optuna_trial.value == trial["metric"]["value"]
        assert len(optuna_trial.intermediate_values) == 2
        assert set(optuna_trial.constraints) == set(LIMITS)
        assert all(value <= 0 for value in optuna_trial.constraints.values())
        assert optuna_trial.user_attrs["parameters"] == trial["costs"]["parameters"]


def test_running_the_same_spec_again_joins_the_study(iris_cli: Any) -> None:
    again = iris_cli.run_in_process("run", "iris.toml", "--json")
    assert again.code == 0, again.err
    assert "there already with the same spec: 8 of 8" in again.err
    assert again.json["trials"]["complete"] == 8


def test_a_trial_can_be_repeated_exactly(iris_cli: Any, report: dict[str, Any]) -> None:
    import torch
    from widthwise.objectives.loop.train import train
    from widthwise.search.problem.problem import Problem
    from widthwise.search.spec.spec import load_spec

    problem = Problem.load(load_spec(iris_cli.folder / "iris.toml"), iris_cli.folder)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for trial in report["history"][:3]:
        again = train(
            problem.objective,
            trial["widths"],
            problem.settings,
            seed=trial["seed"],
            parametrisation=problem.parametrisation,
        )
        assert again.value == trial["metric"]["value"]
        assert again.test_value is trial["test"] is None
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_data_file_needs_no_spec(cli: Any) -> None:
    rng = np.random.default_rng(0)
    rows = [
        f"{x:.3f},{y:.3f},{'red' if x > 0 else 'blue'},{'yes' if x + y > 0 else 'no'}"
        for x, y in rng.normal(size=(120, 2))
    ]
    cli.write("people.csv", "\n".join(["x,y,colour,answer", *rows]) + "\n")
    result = cli.run_in_process(
        *("run", "--data", "people.csv", "--target", "answer", "--max-parameters", "2k"),
        *("--trials", "3", "--epochs", "2", "--json"),
    )
    assert result.code == 0, result.err
    assert result.json["study"] == "people"
    assert result.json["metric"]["name"] == "accuracy"
    assert "classification with 2 classes" in result.err
    assert all(trial["costs"]["parameters"] <= 2000 for trial in result.json["history"])
    # The same file and flags join the study; another limit is another study.
    other = cli.run_in_process("run", "--data", "people.csv", "--target", "answer", "--trials", "3")
    assert other.code == 5
    assert "another name" in other.err


@pytest.mark.slow
def test_a_module_of_ones_own_is_searched(cli: Any) -> None:
    cli.write(
        "mine.py",
        """
from torch import nn

def build(widths):
    layers = [nn.Linear(13, widths["a"]), nn.Tanh(), nn.Linear(widths["a"], 3)]
    return nn.Sequential(*layers)

def error_rate(output, target):
    return (output.argmax(1) != target).double().mean().item()

error_rate.direction = "minimize"
""",
    )
    cli.write(
        "mine.toml",
        """
study = { name = "mine", trials = 4, seed = 3 }
model = { build = "mine.py:build" }
widths = { a = { low = 1, high = 4 } }
proxy = { data = "wine", metric = "mine.py:error_rate", epochs = 2 }
""",
    )
    result = cli.run_in_process("run", "mine.toml", "--json")
    assert result.code == 0, result.err
    values = [trial["metric"]["value"] for trial in result.json["history"]]
    assert result.json["metric"]["direction"] == "minimize"
    assert result.json["best"]["metric"]["value"] == min(values)
    # Four candidates are all there are: more budget ends as exhausted, and says so.
    more = cli.run_in_process("resume", "mine", "--trials", "+2", "--json")
    assert more.code == 0, more.err
    assert "every feasible candidate was tried" in more.err
    assert more.json["trials"]["complete"] == 4
    assert more.json["trials"]["waiting"] == 2


@pytest.mark.slow
def test_a_changed_builder_is_refused_before_anything_is_claimed(cli: Any) -> None:
    source = "from torch import nn\ndef build(w):\n    return nn.Linear(4, 3) if w['a'] < 0 else "
    path = cli.write("m.py", source + "nn.Sequential(nn.Linear(4, w['a']), nn.Linear(w['a'], 3))\n")
    cli.write(
        "m.toml",
        "study = {name='m', trials=2}\nmodel = {build='m.py:build'}\nwidths = {a = [2, 4, 8]}\n"
        "proxy = {data='iris', epochs=1}\n",
    )
    assert cli.run_in_process("run", "m.toml").code == 0
    path.write_text(path.read_text() + "# another version\n")
    for command in (("run", "m.toml"), ("resume", "m", "--trials", "+1"), ("worker", "m")):
        refused = cli.run_in_process(*command)
        assert refused.code == 5
        assert "fingerprint" in refused.err
    # Nothing was written: the budget is what it was.
    status = cli.run_in_process("status", "m", "--json").json
    assert (status["budget"], status["trials"]["complete"]) == (2, 2)


def test_init_writes_a_spec_that_check_accepts(cli: Any) -> None:
    assert cli.run_in_process("init").code == 0
    checked = cli.run_in_process("check", "widthwise.toml", "--json")
    assert checked.code == 0, checked.err
    assert checked.json["candidates"] == 528
    assert checked.json["costs"]["smallest"]["feasible"]
    assert "is fine" in cli.run_in_process("check", "widthwise.toml").out
    again = cli.run_in_process("init")
    assert again.code == 2
    assert "--force" in again.err


MADE_WITH_FUSED = (
    """UPDATE widthwise_study SET spec = replace(spec, '"engine":"auto"', '"engine":"fused"')""",
    """UPDATE widthwise_slot SET result = replace(result, '"plain"', '"fused"')""",
    """UPDATE trial_user_attributes SET value_json = '"fused"' WHERE key = 'engine'""",
)


@pytest.mark.slow
def test_a_study_made_with_a_removed_engine_is_read_and_goes_on(cli: Any) -> None:
    cli.write(
        "old.toml",
        "study = {name='old', trials=1}\nmodel = {family='mlp'}\nwidths = {a = [2, 4, 8]}\n"
        "proxy = {data='iris', epochs=1}\n",
    )
    assert cli.run_in_process("run", "old.toml").code == 0
    database = sqlite3.connect(cli.folder / "study.db")
    with closing(database), database:
        for change in MADE_WITH_FUSED:
            assert database.execute(change).rowcount == 1
    assert cli.run_in_process("status", "old").code == 0
    for command in (["report", "old", "--json"], ["resume", "old", "--trials", "+1"]):
        ran = cli(*command)
        assert ran.code == 0, ran.err
        assert ran.err.count('made with the engine "fused", which was removed: "auto"') >= 1
        assert "Traceback" not in ran.err
    assert cli.run_in_process("report", "old", "--json").json["trials"]["complete"] == 2


def test_ctrl_c_ends_the_dashboard_quietly(iris_cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DashboardServer, "serve_forever", interrupted)
    ran = iris_cli.run_in_process("dashboard", "iris", "--port", "0")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines()[-1] == "dashboard closed"
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ([], None),
        (["--host", "localhost", "--writable"], None),
        (["--host", "0.0.0.0"], "may read every study"),
        (["--host", "::"], "may read every study"),
        (["--host", "0.0.0.0", "--writable"], "may read, change and delete every study"),
    ],
    ids=lambda value: " ".join(value or ["none"]) if isinstance(value, list) else None,
)
def test_a_dashboard_that_others_reach_warns(
    options: list[str], warning: str | None, iris_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DashboardServer, "serve_forever", lambda _server: None)
    ran = iris_cli.run_in_process("dashboard", "--port", "0", *options)
    assert ran.code == 0, ran.err
    assert ("warning: " in ran.err) == (warning is not None)
    assert warning is None or warning in ran.err
    assert "0.0.0.0:" not in ran.err  # a browser is shown an address that it can open


@pytest.mark.parametrize("name", ["https://studies.example", "a b", "studies.example/x", ""])
def test_a_name_that_no_browser_shows_is_refused(name: str, iris_cli: Any) -> None:
    ran = iris_cli.run_in_process("dashboard", "--port", "0", "--allowed-host", name)
    assert ran.code == 2
    assert ran.err.startswith("error: --allowed-host: ")
    assert len(ran.err.splitlines()) == 1


STILL = """\
[study]
name = "still"
trials = 12
[model]
family = "mlp"
[widths]
a = { low = 2, high = 32, step = 2 }
[proxy]
data = "iris"
epochs = 2
folds = 1
learning_rate = 1e-9
"""


def test_a_study_that_learns_nothing_stops_and_goes_on_only_for_who_insists(
    cli: Any,
) -> None:
    cli.write("still.toml", STILL)
    result = cli("run", "still.toml", "--workers", "2")
    assert result.code == 4, result.err
    assert "Nothing is learned: " in result.err
    assert "Likely the learning rate: at 1e-09 the training loss hardly moved" in result.err
    state = json.loads(cli.run_in_process("status", "still", "--json").out)
    assert state["untrained_reason"].startswith("Nothing is learned: ")
    assert 3 <= state["trials"]["complete"] < 12
    assert "not trained" in cli.run_in_process("status").out
    for command in (["resume", "still"], ["continue", "still"], ["worker", "still"]):
        refused = cli.run_in_process(*command)
        assert refused.code == 4
        assert "resume still --untrained-ok" in refused.err
    unconfirmed = cli.run_in_process("confirm", "still")
    assert unconfirmed.code == 2
    assert "cannot be confirmed: it learned nothing (Nothing is learned: " in unconfirmed.err
    again = cli("resume", "still", "--untrained-ok")
    assert again.code == 0, again.err
    state = json.loads(cli.run_in_process("status", "still", "--json").out)
    assert state["trials"]["complete"] == 12
    assert state["untrained_reason"] is None


@pytest.mark.parametrize("command", [("run", "s.toml"), ("resume", "s"), ("confirm", "s")])
def test_a_wrong_energy_of_a_flop_is_told_before_anything_is_trained(
    cli: Any, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    cli.write("s.toml", "study = {}\n")
    monkeypatch.setenv("WIDTHWISE_JOULES_PER_FLOP", "abc")
    refused = cli.run_in_process(*command)
    assert refused.code == 2
    assert 'WIDTHWISE_JOULES_PER_FLOP: found "abc"' in refused.err
    assert not (cli.folder / "study.db").exists()
