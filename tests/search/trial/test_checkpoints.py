"""Checkpoints of trials: an interrupted one goes on where it was, and ends as if it never was."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import update
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.search.errors import Drained, SpecError
from widthwise.search.trial import checkpoints as module
from widthwise.search.trial.bind import BoundSlot
from widthwise.search.trial.checkpoints import (
    CheckpointWriter,
    StudyCheckpoints,
    checkpoint_folder,
)
from widthwise.search.trial.watch import BatchWatch, Unwatched
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.tables import slots
from widthwise.storage.ledger.ledger import PlannedTrial
from widthwise.storage.ledger.slot import Slot, StudyRow
from widthwise.tests.one_slot import settle_one
from widthwise.tests.search.bench import FixedWatch, HarnessFactory, StudyHarness, make_harness

STUDY = StudyRow(
    id=1,
    name="digits",
    spec="{}",
    fingerprint="f" * 64,
    optuna_study_id=1,
    direction="maximize",
    base="",
    created_at=1e9,
)
SNAPSHOT = Snapshot(epochs=1.5, tensors={"0.model.a": torch.arange(3.0)}, metadata={"members": []})
SLOT = Slot(number=3, token="t", attempt=1, widths={"a": 8, "b": 4}, origin="sampler", trial_id=1)
TRIAL = BoundSlot(slot=SLOT, seed=7, costs={}, measured_costs={}, constraints={})


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (module.FOLDER_VARIABLE, module.INTERVAL_VARIABLE, "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def make_writer(
    checkpoints: StudyCheckpoints, *trials: BoundSlot, watch: BatchWatch | None = None, **clock: Any
) -> CheckpointWriter:
    return CheckpointWriter(checkpoints, trials or [TRIAL], watch or Unwatched(), **clock)


# Folders


def test_a_flag_comes_before_the_environment_and_that_before_the_usual_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    server = resolve_url("postgresql://me@db:5432/widths")
    assert checkpoint_folder(None, sqlite, STUDY).parent == tmp_path / "study.db.checkpoints"
    kept = tmp_path / "home" / ".local" / "state" / "widthwise" / "checkpoints"
    assert checkpoint_folder(None, server, STUDY).parent == kept
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert (
        checkpoint_folder(None, server, STUDY).parent
        == tmp_path / "state" / "widthwise" / "checkpoints"
    )
    monkeypatch.setenv(module.FOLDER_VARIABLE, str(tmp_path / "shared"))
    assert checkpoint_folder(None, server, STUDY).parent == tmp_path / "shared"
    assert checkpoint_folder(None, sqlite, STUDY).parent == tmp_path / "shared"
    monkeypatch.chdir(tmp_path)
    assert checkpoint_folder(Path("own"), sqlite, STUDY).parent == tmp_path / "own"
    monkeypatch.setenv(module.FOLDER_VARIABLE, "")
    assert checkpoint_folder(None, sqlite, STUDY).parent == tmp_path / "study.db.checkpoints"


def test_a_user_without_a_home_has_a_folder_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(module.Path, "home", homeless)
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = checkpoint_folder(None, resolve_url("postgresql://me@db/widths"), STUDY)
    assert folder.parent == tmp_path / "widthwise" / "checkpoints"


@pytest.mark.parametrize("name", ["..", "a/b", "a b", "ä", "x" * 500, "-", "con:"])
def test_any_name_makes_a_folder_of_its_own(tmp_path: Path, name: str) -> None:
    folder = checkpoint_folder(tmp_path, resolve_url("sqlite:///s.db"), replace(STUDY, name=name))
    assert folder.resolve().parent == tmp_path.resolve()
    folder.mkdir()
    assert folder.is_dir()


def test_another_study_has_another_folder_also_under_the_same_name(tmp_path: Path) -> None:
    url = resolve_url("sqlite:///s.db")
    others = [
        STUDY,
        replace(STUDY, name="digits!"),
        replace(STUDY, name="digits?"),
        replace(STUDY, fingerprint="0" * 64),
        replace(STUDY, created_at=STUDY.created_at + 1e-6),
    ]
    assert len({checkpoint_folder(tmp_path, url, item) for item in others}) == len(others)
    again = replace(STUDY, id=9, optuna_study_id=4, costs="{}")
    assert checkpoint_folder(tmp_path, url, again) == checkpoint_folder(tmp_path, url, STUDY)


# Intervals


def test_checkpoints_come_by_the_clock(tmp_path: Path) -> None:
    now = 100.0
    checkpoints = StudyCheckpoints(folder=tmp_path, fingerprint="f", interval=30.0)
    writer = make_writer(checkpoints, clock=lambda: now)
    assert not writer.due()
    now = 129.9
    assert not writer.due()
    now = 130.0
    assert writer.due()
    now = 135.0  # it took a while to write
    writer.save(0, SNAPSHOT)
    now = 164.9
    assert not writer.due()
    now = 165.0
    assert writer.due()


def test_a_stop_and_a_slot_that_was_taken_away_are_written_at_once(tmp_path: Path) -> None:
    stop, lost = False, frozenset[int]()
    writer = make_writer(
        StudyCheckpoints(folder=tmp_path, fingerprint="f"),
        watch=FixedWatch(stop_requested=lambda: stop, lost=lambda: lost),
    )
    assert not writer.due()
    lost = frozenset({3})
    assert writer.due()
    assert not writer.due(), "it was written"
    lost = frozenset({3, 5})
    assert writer.due()
    assert not writer.due()
    stop = True
    assert writer.due()


@pytest.mark.parametrize(
    ("value", "interval"), [("", 30.0), ("0", 0.0), ("2.5", 2.5), ("60", 60.0)]
)
def test_how_often_is_a_matter_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, interval: float
) -> None:
    monkeypatch.setenv(module.INTERVAL_VARIABLE, value)
    assert StudyCheckpoints.from_environment(tmp_path, "f").interval == interval


@pytest.mark.parametrize("value", ["often", "-1", "nan", "inf", "1e3", " 5"])
def test_what_is_no_number_of_seconds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(module.INTERVAL_VARIABLE, value)
    with pytest.raises(SpecError, match=r'^WIDTHWISE_CHECKPOINT_SECONDS is ".*", expected seconds'):
        StudyCheckpoints.from_environment(tmp_path, "f")


# Identities


def test_what_was_written_is_loaded_by_the_next_worker_on_that_very_trial(tmp_path: Path) -> None:
    checkpoints = StudyCheckpoints(folder=tmp_path / "new" / "study", fingerprint="f")
    assert make_writer(checkpoints).load(0) is None
    make_writer(checkpoints).save(0, SNAPSHOT)
    snapshot_read = make_writer(checkpoints).load(0)
    assert snapshot_read is not None
    assert (snapshot_read.epochs, snapshot_read.metadata) == (SNAPSHOT.epochs, SNAPSHOT.metadata)
    assert torch.equal(snapshot_read.tensors["0.model.a"], SNAPSHOT.tensors["0.model.a"])


@pytest.mark.parametrize(
    "other",
    [
        replace(TRIAL, slot=replace(SLOT, widths={"a": 8, "b": 5})),
        replace(TRIAL, seed=8),
    ],
    ids=["widths", "seed"],
)
def test_another_trials_checkpoint_is_not_gone_on_with(
    tmp_path: Path, other: BoundSlot, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = StudyCheckpoints(folder=tmp_path, fingerprint="f")
    make_writer(checkpoints).save(0, SNAPSHOT)
    assert make_writer(checkpoints, other).load(0) is None
    assert "is passed over" in caplog.text


def test_other_code_and_another_slot_find_nothing_of_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where its file was put into their folder."""
    checkpoints = StudyCheckpoints(folder=tmp_path, fingerprint="f")
    make_writer(checkpoints).save(0, SNAPSHOT)
    assert make_writer(StudyCheckpoints(folder=tmp_path, fingerprint="g")).load(0) is None
    checkpoints.slot_folder(3).rename(checkpoints.slot_folder(4))
    writer = make_writer(checkpoints, replace(TRIAL, slot=replace(SLOT, number=4)), TRIAL)
    assert writer.load(0) is None
    assert writer.load(1) is None
    assert caplog.text.count("is passed over") == 2


def test_a_folder_that_cannot_be_written_is_logged_once_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "full").write_text("a file where the folder should be")
    checkpoints = StudyCheckpoints(folder=tmp_path / "full", fingerprint="f")
    for _ in range(3):
        make_writer(checkpoints).save(0, SNAPSHOT)
    warnings = [
        log_record for log_record in caplog.records if log_record.levelno == logging.WARNING
    ]
    assert len(warnings) == 1
    assert "no checkpoints can be written to" in warnings[0].getMessage()
    assert "--checkpoints" in warnings[0].getMessage()
    (tmp_path / "full").unlink()
    make_writer(checkpoints).save(0, SNAPSHOT)
    assert make_writer(checkpoints).load(0) is not None


def test_what_is_left_of_settled_slots_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    checkpoints = StudyCheckpoints(folder=tmp_path, fingerprint="f")
    checkpoints.discard_settled({1, 2})  # no folder yet
    for name in ("1", "2", "3", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    checkpoints.discard_settled({1, 2, 9})
    assert sorted(entry_path.name for entry_path in tmp_path.iterdir()) == ["3", "notes"]
    StudyCheckpoints(folder=tmp_path / "none", fingerprint="f").discard_settled({1})


# In a study


def checkpoints_of(study: StudyHarness, folder: Path, every: float = 1e9) -> StudyCheckpoints:
    return StudyCheckpoints(folder=folder, fingerprint=study.row.fingerprint, interval=every)


def reproducible_records(study: StudyHarness) -> list[Any]:
    """What is recorded of each slot, but for the time that it took."""
    return [
        (
            record.number,
            record.widths,
            record.value,
            {k: v for k, v in (record.result or {}).items() if k not in ("seconds", "engine")},
        )
        for record in study.records()
    ]


def test_a_drained_batch_ends_as_if_it_had_never_been_interrupted(
    tmp_path: Path, new_harness: HarnessFactory
) -> None:
    """Twice interrupted, at two epochs; each candidate has its own patience, replicas and rates."""
    options: dict[str, Any] = {"trials": 5, "at_once": 3, "epochs": 7, "patience": 3, "replicas": 2}
    study = new_harness(**options)
    folder = tmp_path / "kept"
    for stops in (2, 3):
        stop_answers = iter([*[False] * stops, True])
        supervisor = study.supervisor(
            stop_requested=lambda stop_answers=stop_answers: next(stop_answers, True),
            checkpoints=checkpoints_of(study, folder),
        )
        with pytest.raises(Drained):
            supervisor.run_batch()
        assert sorted(entry.name for entry in folder.iterdir()) == ["0", "1", "2"]
        assert {entry.attempts for entry in study.records()} == {0}
    study.run_worker(checkpoints=checkpoints_of(study, folder))
    assert list(folder.iterdir()) == [], "they are settled"
    (tmp_path / "other").mkdir()
    url = resolve_url(f"sqlite:///{tmp_path / 'other' / 'study.db'}")
    with Database.open(url, create=True) as database:
        uninterrupted = make_harness(tmp_path / "other", database, **options)
        uninterrupted.run_worker()
        assert reproducible_records(study) == reproducible_records(uninterrupted)


def test_an_attempt_that_failed_leaves_its_checkpoint_and_the_last_one_takes_it_away(
    tmp_path: Path, new_harness: HarnessFactory
) -> None:
    study = new_harness(trials=1, faults=dict.fromkeys(range(1, 41), "raise"))
    checkpoints = checkpoints_of(study, tmp_path / "kept")
    for kind, exists in [("retry", True), ("retry", True), ("error", False)]:
        checkpoints.slot_folder(0).mkdir(parents=True, exist_ok=True)
        (outcome,) = study.supervisor(checkpoints=checkpoints).run_batch()
        assert outcome.kind == kind
        assert checkpoints.slot_folder(0).exists() == exists


@pytest.mark.parametrize("done", [True, False])
def test_a_lost_slots_checkpoint_stays_for_whoever_has_it_now(
    tmp_path: Path, new_harness: HarnessFactory, done: bool
) -> None:
    study = new_harness(trials=3, at_once=2, epochs=4)
    checkpoints = checkpoints_of(study, tmp_path / "kept")
    runner = study.runner(checkpoints=checkpoints)
    slots = runner.ledger.claim_many(2)
    taken_slots: list[int] = []

    def lost() -> frozenset[int]:
        if not taken_slots:
            taken_slots.append(0)
            (slot,) = study.steal_leases([0])
            if done:
                other_worker = study.ledger("thief")
                settle_one(other_worker, slot, outcome="complete", value=1.0, result={})
        return frozenset(taken_slots)

    outcomes = runner.run_batch(slots, FixedWatch(lost))
    assert [outcome.kind for outcome in outcomes] == ["lost", "complete"]
    assert checkpoints.slot_folder(0).exists() == (not done)
    assert not checkpoints.slot_folder(1).exists()


def test_a_planned_training_goes_on_from_its_own_checkpoint(
    new_harness: HarnessFactory, tmp_path: Path
) -> None:
    study = new_harness(trials=1, epochs=3, patience=0)
    study.ledger().add_planned(
        [
            PlannedTrial(
                widths={"a": 5},
                seed=1,
                origin="recommended",
                overrides={"proxy.learning_rate": 0.05},
            )
        ]
    )
    checkpoints = StudyCheckpoints(folder=tmp_path / "kept", fingerprint="f", interval=0.0)
    steps = iter([False] * 2 + [True] * 100)
    interrupted = study.runner(checkpoints=checkpoints)
    with pytest.raises(Drained):
        interrupted.run_batch(
            study.ledger().claim_many(1), FixedWatch(stop_requested=lambda: next(steps))
        )
    assert (checkpoints.slot_folder(1)).is_dir()
    study.steal_leases([1])
    study.database.write(
        lambda connection: connection.execute(
            update(slots).where(slots.c.number == 1).values(state="free")
        )
    )
    [slot] = study.ledger().claim_many(1)
    for overrides, resumed in (({"proxy.learning_rate": 0.1}, False), (slot.overrides, True)):
        trial = replace(slot, overrides=overrides)
        evaluated = study.runner()._binder().evaluate_costs(trial)
        assert isinstance(evaluated, BoundSlot)
        writer = CheckpointWriter(checkpoints, [evaluated], Unwatched())
        assert (writer.load(0) is not None) is resumed
