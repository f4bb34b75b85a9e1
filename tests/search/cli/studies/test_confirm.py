"""`widthwise confirm`, and the end of a run: the answer trained long, with fresh seeds."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from widthwise.search.cli.studies.run import _report_run
from widthwise.search.followup.confirm import (
    ConfirmationOptions,
    announce_confirmation,
    confirm_study,
    describe_unconfirmed,
)
from widthwise.search.followup.follow_up import FollowUpKind, FollowUpStopped, open_follow_up
from widthwise.search.followup.subject import load_subject
from widthwise.search.problem.seeds import trial_seed
from widthwise.search.worker.options import FleetWorkerOptions
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.ledger.slot import StudyStatus
from widthwise.storage.study.control import set_status
from widthwise.storage.study.study import find_study, load_study
from widthwise.storage.study.untrained import stop_untrained
from widthwise.tests.search.conftest import CommandLine

SPEC = """\
study = {{ name = "iris", trials = {trials} }}
model = {{ family = "mlp" }}
widths = {{ a = {{ low = 2, high = 32, step = 2 }} }}
limits = {{ parameters = 200 }}
references = {{ today = {{ a = 8 }} }}
proxy = {{ data = "iris", epochs = 4, folds = 1, replicas = 2, batch_size = 32, \
halving = {{ eta = 2, first = 4 }} }}
"""
"""No rung comes within four epochs; within twelve there would be two."""


MODELS = ("constant", "linear", "trees")


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a finished and confirmed study; do not change it."""
    folder = tmp_path_factory.mktemp("confirmed")
    cli = CommandLine(folder, f"sqlite:///{folder / 'study.db'}")
    cli.write("iris.toml", SPEC.format(trials=6))
    searched = cli("run", "iris.toml", "--no-confirm", "--json")
    assert searched.code == 0, searched.err
    shutil.copy(folder / "study.db", folder / "searched.db")
    (folder / "search.json").write_text(searched.out)
    (folder / "search.err").write_text(searched.err)
    result = cli("confirm", "iris", "--workers", "2", "--seeds", "2", "--json")
    assert result.code == 0, result.err
    (folder / "confirm.json").write_text(result.out)
    (folder / "confirm.err").write_text(result.err)
    return cli


def trials(cli: Any, study: str) -> list[Any]:
    with Database.open(resolve_url(cli.storage)) as database:
        return LedgerReader(database, load_study(database, study)).records()


def test_an_unconfirmed_run_says_how_to_confirm_and_judges_no_test_split(confirmed: Any) -> None:
    assert "widthwise confirm iris" in (confirmed.folder / "search.err").read_text()
    assert all(record.result["test"] is None for record in trials(confirmed, "iris"))
    search = json.loads((confirmed.folder / "search.json").read_text())
    assert search["confirmation"] is None
    assert all(search["baselines"][name]["test"] is None for name in MODELS)
    before = CommandLine(confirmed.folder, f"sqlite:///{confirmed.folder / 'searched.db'}")
    assert "test accuracy" not in before.run_in_process("report", "iris").out


def test_contenders_are_trained_long_with_the_same_fresh_seeds(confirmed: Any) -> None:
    records = trials(confirmed, "iris/confirmation")
    seeds = defaultdict(set)
    for record in records:
        assert record.outcome == "complete"
        seeds[record.widths["a"]].add(record.seed)
        assert 4 < record.result["epochs"] <= 12
        assert record.result["rungs"] == {}
        assert 0 <= record.result["test"] <= 1
        assert "spread" not in record.result["attributes"]  # one training a seed
    first = next(iter(seeds.values()))
    assert all(each == first for each in seeds.values())
    assert len(first) == 2
    searched = {record.result["seed"] for record in trials(confirmed, "iris")}
    assert not first & searched
    assert not first & {trial_seed(0, number) for number in range(1000)}
    assert "recommended" in {record.origin for record in records}
    assert 8 in seeds  # today's model


def test_experiments_are_about_what_a_confirmation_chose(confirmed: Any) -> None:
    report = json.loads((confirmed.folder / "confirm.json").read_text())
    with Database.open(resolve_url(confirmed.storage)) as database:
        assert dict(load_subject(database, "iris").widths) == report["recommended"]["widths"]


def test_test_figures_come_with_the_confirmation(confirmed: Any) -> None:
    report = json.loads((confirmed.folder / "confirm.json").read_text())
    assert all(0 <= report["baselines"][name]["test"] <= 1 for name in MODELS)


def test_a_second_confirmation_finds_all_of_it_done(confirmed: Any) -> None:
    before = trials(confirmed, "iris/confirmation")
    again = confirmed.run_in_process("confirm", "iris", "--json")
    assert again.code == 0, again.err
    assert trials(confirmed, "iris/confirmation") == before
    assert "confirming" not in again.err


def test_status_shows_how_far_a_confirmation_is(confirmed: Any) -> None:
    status = confirmed.run_in_process("status", "iris", "--json").json
    [follow_up] = status["follow_ups"]
    assert (follow_up["study"], follow_up["kind"], follow_up["follows"]) == (
        "iris/confirmation",
        "confirmation",
        "iris",
    )
    assert follow_up["trials"]["complete"] == follow_up["budget"] > 0
    assert status["budget"] == 6
    assert "iris/confirmation" in confirmed.run_in_process("status", "iris").out


def test_what_follows_up_another_study_is_no_study_to_run(confirmed: Any) -> None:
    name = "iris/confirmation"
    for arguments in (["confirm", name], ["resume", name], ["report", name], ["best", name]):
        refused = confirmed.run_in_process(*arguments)
        assert refused.code == 2, refused.err
        assert "confirmation of" in refused.err
        assert " iris" in refused.err
        assert refused.err.count("\n") <= 4
    finished = confirmed.run_in_process("pause", name)
    assert finished.code == 2
    assert "nothing to pause; the study that it follows up plans them" in finished.err
    named = confirmed.run_in_process("run", "iris.toml", "--name", name)
    assert named.code == 2, named.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["confirm", "nobody"], "no study 'nobody'"),
        (["confirm", "iris", "--seeds", "0"], "--seeds: found"),
        (["confirm", "iris", "--seeds", "many"], "--seeds: found"),
        (["confirm", "iris", "--epochs", "0"], "--epochs: found"),
        (["confirm", "iris", "--spread", "-1"], "--spread: found"),
        (["confirm", "iris", "--on", "mars"], "--on: found"),
        (["confirm"], "NAME"),
    ],
    ids=" ".join,
)
def test_bad_input_gets_a_sentence(confirmed: Any, arguments: list[str], message: str) -> None:
    refused = confirmed.run_in_process(*arguments)
    assert refused.code == 2
    assert message in refused.err
    assert "Traceback" not in refused.err


def test_other_epochs_than_it_was_begun_with_are_refused(confirmed: Any) -> None:
    refused = confirmed.run_in_process("confirm", "iris", "--epochs", "5")
    assert refused.code == 5
    assert "--epochs: found 5, but iris/confirmation was begun with at most 12" in refused.err
    assert "proxy.length_factor" not in refused.err
    too_many = confirmed.run_in_process(
        "confirm", "iris", "--epochs", "4001",
        "--storage", f"sqlite:///{confirmed.folder / 'searched.db'}",
    )  # fmt: skip
    assert too_many.code == 2
    assert "--epochs: found 4,001, but a training of iris has 4 epochs" in too_many.err


def test_an_unfinished_study_is_not_confirmed(cli: Any) -> None:
    cli.write("iris.toml", SPEC.format(trials=6))
    assert cli.run_in_process("submit", "iris.toml").code == 0
    refused = cli.run_in_process("confirm", "iris")
    assert refused.code == 2
    assert "0 of its trainings are complete, and 4 are needed" in refused.err


@pytest.mark.slow
def test_one_seed_is_enough_to_ask_for_and_more_may_be_added(
    confirmed: Any, tmp_path: Path
) -> None:
    storage = f"sqlite:///{shutil.copy(confirmed.folder / 'searched.db', tmp_path)}"
    cli = CommandLine(confirmed.folder, storage)
    seeds_by_widths: list[dict[int, set[int]]] = []
    for most in ("1", "2"):
        result = cli("confirm", "iris", "--seeds", most, "--json")
        assert result.code == 0, result.err
        assert result.json["confirmation"]["complete"]
        seeds: dict[int, set[int]] = defaultdict(set)
        for record in trials(cli, "iris/confirmation"):
            seeds[record.widths["a"]].add(record.seed)
        assert {len(each) for each in seeds.values()} == {int(most)}
        seeds_by_widths.append(seeds)
    before, after = seeds_by_widths
    assert all(before[width] < after[width] for width in before)
    # The same search, confirmed at once and in two goes: the same trainings, the same figures.
    known = {
        (record.widths["a"], record.seed): record.value
        for record in trials(confirmed, "iris/confirmation")
    }
    assert known == {
        (record.widths["a"], record.seed): record.value
        for record in trials(cli, "iris/confirmation")
    }


@pytest.mark.slow
def test_a_run_confirms_unless_there_is_too_little_to_go_by(cli: Any) -> None:
    cli.write("iris.toml", SPEC.format(trials=3))
    short = cli("run", "iris.toml", "--confirm")
    assert short.code == 0, short.err
    assert "not confirmed: 3 of its trainings are complete, and 4 are needed" in short.err
    assert "resume iris --trials +4" in short.err
    assert "afterwards its answer is confirmed" not in short.err
    assert "confirm the answer" not in short.err
    longer = cli("resume", "iris", "--trials", "+2", "--confirm", "--json")
    assert longer.code == 0, longer.err
    again = cli("run", "iris.toml", "--confirm")
    assert "afterwards" not in again.err, "the search is done"
    assert "afterwards its answer is confirmed" in longer.err
    assert "confirming iris: " in longer.err
    assert trials(cli, "iris/confirmation")


def test_a_confirmation_is_announced_where_one_can_follow(cli: Any) -> None:
    told = io.StringIO()
    console = Console(file=told, width=1000)
    for trial_count in (3, 4):
        spec = SPEC.format(trials=trial_count).replace('"iris"', f'"iris{trial_count}"', 1)
        cli.write("iris.toml", spec)
        assert cli.run_in_process("submit", "iris.toml").code == 0
    with Database.open(resolve_url(cli.storage)) as database:
        announce_confirmation(database, "iris3", console)
        assert told.getvalue() == "", "too short to choose by"
        announce_confirmation(database, "iris4", console)
        assert told.getvalue().startswith("afterwards its answer is confirmed: ")
        told.truncate(0)
        set_status(database, load_study(database, "iris4"), StudyStatus.PAUSED, worker="ann")
        announce_confirmation(database, "iris4", console)
        assert told.getvalue() == "", "not open"


def test_an_interrupted_confirmation_is_offered_again_and_none_that_cannot_be(
    confirmed: Any, cli: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer = "confirm the answer: "
    storage = f"sqlite:///{shutil.copy(confirmed.folder / 'searched.db', tmp_path)}"
    with Database.open(resolve_url(storage)) as database:
        open_follow_up(database, load_study(database, "iris"), FollowUpKind.CONFIRMATION)
        _report_run(database, "iris", 0, as_json=True)
        assert offer in capsys.readouterr().err
    with Database.open(resolve_url(confirmed.storage)) as database:
        _report_run(database, "iris", 0, as_json=True)
        assert offer not in capsys.readouterr().err
    cli.write("iris.toml", SPEC.format(trials=6))
    assert cli.run_in_process("submit", "iris.toml").code == 0
    with Database.open(resolve_url(cli.storage)) as database:
        _report_run(database, "iris", 0, as_json=True)
        assert offer not in capsys.readouterr().err, "no trial is complete"


def test_why_a_study_learned_nothing_is_told_once(confirmed: Any, tmp_path: Path) -> None:
    """A run has told it by then; who asks for a confirmation is told all of it."""
    storage = f"sqlite:///{shutil.copy(confirmed.folder / 'searched.db', tmp_path)}"
    insist = "`widthwise resume iris --untrained-ok` goes on all the same"
    with Database.open(resolve_url(storage)) as database:
        stop_untrained(database, load_study(database, "iris"), "All is flat.", worker="ann")
        assert describe_unconfirmed(database, "iris") == (
            f"not confirmed: it learned nothing; {insist}"
        )
    refused = confirmed.run_in_process("confirm", "iris", "--storage", storage)
    assert refused.code == 2
    assert f"it learned nothing (All is flat); {insist}" in refused.err


def test_a_cancelled_study_is_not_confirmed(confirmed: Any, tmp_path: Path) -> None:
    storage = f"sqlite:///{shutil.copy(confirmed.folder / 'study.db', tmp_path)}"
    with Database.open(resolve_url(storage)) as database:
        row = load_study(database, "iris")
        Ledger(database, row, worker="ann").extend(1)
        unfinished = confirmed.run_in_process("confirm", "iris", "--storage", storage)
        assert unfinished.code == 2
        assert "6 of its 7 trials are done; `widthwise resume iris` finishes it" in unfinished.err
        set_status(database, row, StudyStatus.CANCELLED, worker="ann")
    cancelled = confirmed.run_in_process("confirm", "iris", "--storage", storage)
    assert cancelled.code == 2
    assert "it was cancelled; `widthwise resume iris` opens it again" in cancelled.err


@pytest.mark.slow
def test_what_a_run_found_is_told_though_its_confirmation_has_no_name(
    confirmed: Any, tmp_path: Path
) -> None:
    storage = f"sqlite:///{shutil.copy(confirmed.folder / 'searched.db', tmp_path)}"
    spec = SPEC.format(trials=1).replace('"iris"', '"iris/confirmation"', 1)
    (tmp_path / "own.toml").write_text(spec)
    own = confirmed.run_in_process("submit", str(tmp_path / "own.toml"), "--storage", storage)
    assert own.code == 0, own.err
    ended = confirmed("run", "iris.toml", "--confirm", "--json", "--storage", storage)
    assert ended.code == 5
    assert "There is a study 'iris/confirmation' of its own" in ended.err
    assert ended.json["recommended"]["widths"]


def test_a_stop_while_the_evidence_is_read_is_heard(
    confirmed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"sqlite:///{shutil.copy(confirmed.folder / 'searched.db', tmp_path)}"
    unheard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: unheard.append(number))
    try:
        with Database.open(resolve_url(storage)) as database:
            open_storage = database.optuna_storage

            def stopped_meanwhile() -> Any:
                os.kill(os.getpid(), signal.SIGTERM)
                return open_storage()

            monkeypatch.setattr(database, "optuna_storage", stopped_meanwhile)
            with pytest.raises(
                FollowUpStopped, match="`widthwise confirm iris` goes on"
            ) as stopped:
                confirm_study(
                    database,
                    "iris",
                    ConfirmationOptions(),
                    FleetWorkerOptions(),
                    Console(file=io.StringIO()),
                    worker_count=1,
                )
            assert find_study(database, "iris/confirmation") is None
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped.value.exit_code == 75
    assert not unheard
