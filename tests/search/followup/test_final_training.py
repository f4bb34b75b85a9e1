"""The final training: which rows it learns from, how long it is, and what it keeps."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from widthwise.objectives.data.load import load_data
from widthwise.search.followup.final_training import (
    TrainingRequest,
    find_trainings,
    usual_epochs,
)
from widthwise.search.problem.seeds import confirmation_seed, final_seed, trial_seed
from widthwise.search.report.evidence import load_evidence
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.slot import TrialOutcome
from widthwise.storage.study.study import load_study
from widthwise.tests.search.conftest import CommandLine, copy_study

WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def study(iris_cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return copy_study(iris_cli, tmp_path_factory.mktemp("final"))


@pytest.fixture(scope="module")
def trained(study: CommandLine) -> dict[str, Any]:
    result = study("train", "iris", "--epochs", "12", "--json")
    assert result.code == 0, result.err
    assert "120 rows, training and validation together, 12 epochs" in result.err
    return dict(json.loads(result.out))


def slots(cli: CommandLine, name: str = "iris/training") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(cli.folder / "study.db")) as connection:
        return connection.execute(
            "select s.widths, s.seed, s.overrides, s.outcome, s.attempts"
            " from widthwise_slot s join widthwise_study t on t.id = s.study_id"
            " where t.name = ? order by s.number",
            (name,),
        ).fetchall()


def accuracy_by_hand(weights: Path, widths: dict[str, int], split: str) -> float:
    """Load the weights into a network of plain torch; return its share of right classes."""
    sizes = [4, *widths.values(), 3]
    layers: list[nn.Module] = [nn.Flatten()]
    for size, next_size in pairwise(sizes):
        layers += [nn.Linear(size, next_size), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    network.load_state_dict(load_file(weights))
    rows = getattr(load_data("iris", base=Path(), seed=0), split)
    classes = network.eval()(rows.inputs).argmax(dim=1)
    return float((classes == rows.targets).double().mean())


def test_the_weights_are_kept_and_are_those_that_were_judged(
    trained: dict[str, Any], iris_cli: CommandLine
) -> None:
    report = json.loads((iris_cli.folder / "run.json").read_text())
    assert trained["widths"] == report["recommended"]["widths"]
    assert trained["epochs"] == 12
    by_hand = accuracy_by_hand(Path(trained["weights"]), trained["widths"], "test")
    assert trained["metric"]["test"] == pytest.approx(by_hand, abs=1e-12)


def test_its_seed_is_no_other_trainings() -> None:
    others = {trial_seed(0, n) for n in range(99)} | {confirmation_seed(0, n) for n in range(99)}
    assert final_seed(0) not in others
    assert final_seed(0) != final_seed(1)


def test_the_same_call_trains_nothing_and_another_length_trains_again(
    study: CommandLine, trained: dict[str, Any]
) -> None:
    again = study.run_in_process("train", "iris", "--epochs", "12", "--json")
    assert again.json == trained
    assert len(slots(study)) == 1
    shorter = study("train", "iris", "--epochs", "3")
    assert shorter.code == 0, shorter.err
    assert "3 epochs in" in shorter.out
    assert "test accuracy" in shorter.out
    assert "--training 1 --out DIR` writes" in shorter.out
    assert [json.loads(slot[2])["proxy.epochs"] for slot in slots(study)] == [12, 3]
    widths = trained["widths"]
    with Database.open(resolve_url(study.storage)) as database:
        found = find_trainings(database, load_study(database, "iris"), widths)
    assert [one.epochs for one in found] == [12, 3]
    assert found[0].weights == Path(trained["weights"])


def test_weights_that_are_gone_are_said(study: CommandLine, trained: dict[str, Any]) -> None:
    elsewhere = study.folder / "elsewhere"
    result = study.run_in_process("train", "iris", "--epochs", "12", "--checkpoints", elsewhere)
    assert result.code == 2
    assert f"its weights are not at {elsewhere}" in result.err
    assert "--checkpoints" in result.err


def test_killed_at_any_time_it_ends_with_the_same_weights(
    study: CommandLine,
    iris_cli: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cli = copy_study(iris_cli, tmp_path)
    epochs = ("--epochs", "500")
    with monkeypatch.context() as patch:
        patch.setenv("WIDTHWISE_CHECKPOINT_SECONDS", "0")
        process = cli.start("train", "iris", *epochs, "--lease", "1")
        folder = cli.folder / "study.db.checkpoints"
        deadline = time.monotonic() + WAIT_SECONDS
        while not list(folder.glob("iris-training-*/0/*.safetensors")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert slots(cli)[0][3] is None
    resumed = cli("train", "iris", *epochs, "--json")
    assert resumed.code == 0, resumed.err
    whole = study("train", "iris", *epochs, "--json")
    first, second = (load_file(json.loads(one.out)["weights"]) for one in (resumed, whole))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_usual_length_is_that_of_the_best_epochs(iris_cli: CommandLine) -> None:
    with Database.open(resolve_url(iris_cli.storage)) as database:
        evidence = load_evidence(database, "iris")
    assert evidence.problem is not None
    record = next(one for one in evidence.records if one.outcome is TrialOutcome.COMPLETE)
    assert record.widths is not None

    def best(epoch: int, **widths: int) -> Any:
        return replace(record, result={**(record.result or {}), "best_epoch": epoch}, widths=widths)

    def epochs(records: list[Any], confirmed: list[Any], **widths: int) -> int:
        changed = replace(evidence, records=records, follow_ups={"confirmation": confirmed})
        return usual_epochs(changed, evidence.problem, widths)  # type: ignore[arg-type]

    searched = [best(0, a=4, b=2)]
    confirmed = [best(20, a=4, b=2), best(30, a=4, b=2), best(40, a=4, b=2), best(90, a=8, b=2)]
    assert epochs(searched, confirmed, a=4, b=2) == 31
    assert epochs(searched, confirmed, a=6, b=2) == 36  # the median of all: 35.5
    assert epochs(searched, [], a=4, b=2) == 1
    # Two epochs were the limit of the search: a confirmation would train three times as long.
    assert epochs([best(1, a=4, b=2)], [], a=4, b=2) == 6


def test_the_command_that_goes_on_is_the_one_that_was_given() -> None:
    request = TrainingRequest(widths={"a": 4, "b": 2}, epochs=9)
    assert request.command("s") == "widthwise train s --widths a=4,b=2 --epochs 9"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "nobody"], "nobody"),
        (["train", "iris", "--widths", "z=4"], '--widths: found "z", expected some of the widths'),
        (["train", "iris", "--widths", "a=5,b=2"], "--widths: width 'a' is 5"),
        (["train", "iris", "--widths", "a=0,b=2"], "--widths: width 'a' is 0"),
        (["train", "iris", "--trial", "99"], "--trial: found 99, expected a trial of iris"),
        (["train", "iris", "--trial", "1", "--widths", "a=4"], "found both of --widths and --t"),
        (["train", "iris", "--epochs", "0"], "--epochs"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence(
    study: CommandLine, trained: dict[str, Any], arguments: list[str], sentence: str
) -> None:
    before = slots(study)
    result = study.run_in_process(*arguments)
    assert result.code == 2
    assert sentence in result.err
    assert "Traceback" not in result.err
    assert slots(study) == before
