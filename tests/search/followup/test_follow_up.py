"""Follow-up studies through real workers: planned, run, gone on with, and kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from widthwise.search.errors import ExitCode, FingerprintMismatch, SpecError
from widthwise.search.followup.follow_up import (
    FollowUpKind,
    FollowUpStopped,
    PlannedTrial,
    find_follow_up,
    open_follow_up,
    run_planned,
)
from widthwise.search.problem.problem import Problem
from widthwise.search.problem.stored import stored_spec
from widthwise.search.report.console import PlainConsole
from widthwise.search.report.evidence import load_evidence
from widthwise.search.spec.spec import load_spec
from widthwise.search.worker.options import FleetWorkerOptions
from widthwise.search.worker.shutdown import worker_name
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.errors import StudyMismatch
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.ledger.slot import StudyRow, StudyStatus
from widthwise.storage.study.control import set_status
from widthwise.storage.study.study import create_study, list_follow_ups

MODEL = """
from torch import nn

def build(widths):
    return nn.Sequential(nn.Linear(4, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))
"""
SPEC = """
study = { name = "iris", trials = 4 }
model = { build = "model.py:build" }
widths = { a = { low = 2, high = 32 } }
limits = { parameters = 100 }
proxy = { data = "iris", epochs = 2, folds = 1, engine = "plain", device = "cpu" }
"""


@pytest.fixture
def database(cli: Any) -> Iterator[Database]:
    with Database.open(resolve_url(cli.storage)) as opened:
        yield opened


@pytest.fixture
def parent(cli: Any, database: Database) -> StudyRow:
    """A study that nobody has run."""
    cli.write("model.py", MODEL)
    spec = load_spec(cli.write("iris.toml", SPEC))
    problem = Problem.load(spec, cli.folder)
    row, _ = create_study(
        database,
        name="iris",
        spec=problem.spec.to_json(),
        fingerprint=problem.fingerprint,
        direction="maximize",
        metric="accuracy",
        base=str(cli.folder),
        budget=4,
        costs=problem.serialise_costs(),
    )
    return row


def plan(width: int, seed: int = 1, **overrides: Any) -> PlannedTrial:
    keys = {f"proxy.{name}": value for name, value in overrides.items()}
    return PlannedTrial(widths={"a": width}, seed=seed, origin="recommended", overrides=keys)


def run(
    database: Database, row: StudyRow, planned: list[PlannedTrial], command: str | None = None
) -> list[Any]:
    console = PlainConsole(stderr=True)
    return run_planned(
        database, row, planned, FleetWorkerOptions(), console, worker_count=1, command=command
    )


def test_planned_trainings_are_done_by_workers_and_done_once(
    database: Database, parent: StudyRow
) -> None:
    row = open_follow_up(
        database, parent, FollowUpKind.CONFIRMATION, spec_changes={"proxy.epochs": 4}
    )
    assert (row.name, row.parent_id, row.budget) == ("iris/confirmation", parent.id, 0)
    first = run(database, row, [plan(8), plan(8, seed=2), plan(30)])
    assert [record.outcome for record in first] == ["complete", "complete", "infeasible"]
    assert [record.result["epochs"] for record in first[:2]] == [4, 4]
    assert all(0 <= record.result["test"] <= 1 for record in first[:2])
    assert first[0].value != 0
    # The same again, and one more.
    records = run(database, row, [plan(8), plan(8, seed=2), plan(8, seed=2, learning_rate=0.1)])
    assert records[:3] == first
    assert [record.attempts for record in records] == [1] * 4
    assert records[3].overrides == {"proxy.learning_rate": 0.1}
    assert records[3].result["learning_rate"] == 0.1
    evidence = load_evidence(database, "iris")
    assert list(evidence.follow_ups) == ["confirmation"]
    assert evidence.follow_ups["confirmation"] == records
    assert evidence.counts.budget == 4


def test_only_a_confirmation_judges_the_test_split(database: Database, parent: StudyRow) -> None:
    row = open_follow_up(database, parent, FollowUpKind.SWEEP, detail="a")
    assert row.name == "iris/sweep a"
    [record] = run(database, row, [plan(8)])
    assert (record.outcome, record.result["test"]) == ("complete", None)


def test_a_follow_up_is_made_once_and_found(database: Database, parent: StudyRow) -> None:
    assert find_follow_up(database, parent, FollowUpKind.REFINEMENT) is None
    changes = {"proxy.epochs": 6, "proxy.halving": None}
    first = open_follow_up(database, parent, FollowUpKind.REFINEMENT, spec_changes=changes)
    again = open_follow_up(database, parent, FollowUpKind.REFINEMENT, spec_changes=changes)
    assert first.id == again.id
    assert find_follow_up(database, parent, FollowUpKind.REFINEMENT) == again
    assert [row.name for row in list_follow_ups(database, parent)] == ["iris/refinement"]
    assert stored_spec(first).proxy.epochs == 6
    with pytest.raises(FingerprintMismatch, match=r"proxy\.epochs is 7 here and 6 there"):
        open_follow_up(database, parent, FollowUpKind.REFINEMENT, spec_changes={"proxy.epochs": 7})


def test_a_follow_up_cancelled_between_rounds_waits_until_it_is_opened_again(
    database: Database, parent: StudyRow, capsys: pytest.CaptureFixture[str]
) -> None:
    row = open_follow_up(database, parent, FollowUpKind.SWEEP, detail="a")
    set_status(database, row, StudyStatus.CANCELLED, worker="ann")
    reader = Ledger(database, row, worker="ann").reader
    command = "widthwise sweep iris --width a --values 8 --seeds 1"
    for given, told in ((None, "widthwise sweep iris --width a"), (command, command)):
        with pytest.raises(FollowUpStopped, match=f"`{told}` goes on") as stopped:
            run(database, row, [plan(8)], given)
        assert stopped.value.exit_code == 75
        assert f"cancelled with 0 of 1 trials done; `{told}` goes on" in capsys.readouterr().err
        assert reader.status() is StudyStatus.CANCELLED
    [record] = reader.records()
    assert record.outcome is None
    again = open_follow_up(database, parent, FollowUpKind.SWEEP, detail="a")
    assert again.id == row.id
    assert again.status is reader.status() is StudyStatus.OPEN


@pytest.mark.parametrize(
    ("worker_exit", "exit_code"), [(75, ExitCode.DRAINED), (120, ExitCode.BUG), (137, ExitCode.BUG)]
)
def test_a_workers_exit_code_that_is_none_of_ours_is_a_bug(
    worker_exit: int, exit_code: ExitCode
) -> None:
    assert FollowUpStopped("it ended", worker_exit).exit_code is exit_code


def test_other_code_than_the_parents_is_refused(
    cli: Any, database: Database, parent: StudyRow
) -> None:
    cli.write("model.py", MODEL + "# something else\n")
    with pytest.raises(FingerprintMismatch, match="study iris was made with other code"):
        open_follow_up(database, parent, FollowUpKind.CONFIRMATION)
    assert list_follow_ups(database, parent) == []


def test_code_that_changes_meanwhile_ends_the_workers(
    cli: Any, database: Database, parent: StudyRow
) -> None:
    row = open_follow_up(database, parent, FollowUpKind.CONFIRMATION)
    cli.write("model.py", MODEL + "# something else\n")
    refused = cli("worker", row.name)
    assert refused.code == 5
    assert "iris/confirmation was made with other code" in refused.err


def test_a_change_that_is_no_spec_leaves_nothing(database: Database, parent: StudyRow) -> None:
    with pytest.raises(SpecError, match=r"proxy\.epochs: found 0"):
        open_follow_up(
            database, parent, FollowUpKind.CONFIRMATION, spec_changes={"proxy.epochs": 0}
        )
    assert list_follow_ups(database, parent) == []


def test_a_study_of_its_own_of_that_name_is_left_alone(
    cli: Any, database: Database, parent: StudyRow
) -> None:
    create_study(
        database,
        name="iris/confirmation",
        spec=parent.spec,
        fingerprint=parent.fingerprint,
        direction="maximize",
        metric="accuracy",
        base=parent.base,
        budget=4,
    )
    with pytest.raises(StudyMismatch, match="a study 'iris/confirmation' of its own"):
        open_follow_up(database, parent, FollowUpKind.CONFIRMATION)


def test_a_pool_worker_serves_follow_ups_too(
    cli: Any, database: Database, parent: StudyRow
) -> None:
    row = open_follow_up(database, parent, FollowUpKind.REFINEMENT)
    ledger = Ledger(database, row, worker=worker_name())
    ledger.add_planned([plan(8, learning_rate=0.1)])
    assert cli("pause", "iris").code == 0
    ended = cli("worker", "--idle", "1")
    assert ended.code == 0, ended.err
    assert "serving iris/refinement" in ended.err
    [record] = ledger.reader.records()
    assert (record.outcome, record.result["learning_rate"]) == ("complete", 0.1)
