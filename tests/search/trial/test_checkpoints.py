"""Checkpoints of trials: an interrupted one goes on where it was, and ends as if it never was."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.search.errors import Drained, SpecError
from widthwise.search.trial import checkpoints as keeping
from widthwise.search.trial import checkpoints as place
from widthwise.search.trial.checkpoints import BatchKeeper, Checkpoints, KeptTrial, folder_for
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.slot import StudyRow
from widthwise.tests.search.bench import Bench, make_bench

Make = Callable[..., Bench]

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
SNAPSHOT = Snapshot(epochs=1.5, tensors={"0.model.a": torch.arange(3.0)}, facts={"members": []})
TRIAL = KeptTrial(number=3, widths={"a": 8, "b": 4}, seed=7)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    url = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    with Database.open(url, create=True) as database:
        yield lambda **how: make_bench(tmp_path, database, **how)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (place.FOLDER, place.EVERY, "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def keeper_of(checkpoints: Checkpoints, **how: Any) -> BatchKeeper:
    asked = {"stopping": lambda: False, "lost": frozenset, **how}
    return BatchKeeper(checkpoints, [TRIAL], asked["stopping"], asked["lost"])


# Where


def test_a_flag_comes_before_the_environment_and_that_before_the_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    server = resolve_url("postgresql://me@db:5432/widths")
    assert folder_for(None, sqlite, STUDY).parent == tmp_path / "study.db.checkpoints"
    kept = tmp_path / "home" / ".local" / "state" / "widthwise" / "checkpoints"
    assert folder_for(None, server, STUDY).parent == kept
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert (
        folder_for(None, server, STUDY).parent == tmp_path / "state" / "widthwise" / "checkpoints"
    )
    monkeypatch.setenv(place.FOLDER, str(tmp_path / "shared"))
    assert folder_for(None, server, STUDY).parent == tmp_path / "shared"
    assert folder_for(None, sqlite, STUDY).parent == tmp_path / "shared"
    monkeypatch.chdir(tmp_path)
    assert folder_for("mine", sqlite, STUDY).parent == tmp_path / "mine"
    monkeypatch.setenv(place.FOLDER, "")
    assert folder_for("", sqlite, STUDY).parent == tmp_path / "study.db.checkpoints"


def test_a_user_without_a_home_has_a_folder_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(place.Path, "home", homeless)
    monkeypatch.setattr(place.tempfile, "gettempdir", lambda: str(tmp_path))
    found = folder_for(None, resolve_url("postgresql://me@db/widths"), STUDY)
    assert found.parent == tmp_path / "widthwise" / "checkpoints"


@pytest.mark.parametrize("name", ["..", "a/b", "a b", "ä", "x" * 500, "-", "con:"])
def test_any_name_makes_a_folder_of_its_own(tmp_path: Path, name: str) -> None:
    found = folder_for(str(tmp_path), resolve_url("sqlite:///s.db"), replace(STUDY, name=name))
    assert found.resolve().parent == tmp_path.resolve()
    found.mkdir()
    assert found.is_dir()


def test_another_study_has_another_folder_also_under_the_same_name(tmp_path: Path) -> None:
    url = resolve_url("sqlite:///s.db")
    others = [
        STUDY,
        replace(STUDY, name="digits!"),
        replace(STUDY, name="digits?"),
        replace(STUDY, fingerprint="0" * 64),
        replace(STUDY, created_at=STUDY.created_at + 1e-6),
    ]
    assert len({folder_for(str(tmp_path), url, one) for one in others}) == len(others)
    again = replace(STUDY, id=9, optuna_study_id=4, costs="{}")
    assert folder_for(str(tmp_path), url, again) == folder_for(str(tmp_path), url, STUDY)


# When


def test_checkpoints_come_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now)
    keeper = keeper_of(Checkpoints(folder=tmp_path, fingerprint="f", every=30.0))
    assert not keeper.due()
    now = 129.9
    assert not keeper.due()
    now = 130.0
    assert keeper.due()
    now = 135.0  # it took a while to write
    keeper.save(0, SNAPSHOT)
    now = 164.9
    assert not keeper.due()
    now = 165.0
    assert keeper.due()


def test_a_stop_and_a_slot_that_was_taken_away_are_written_at_once(tmp_path: Path) -> None:
    stop, lost = False, frozenset[int]()
    keeper = keeper_of(
        Checkpoints(folder=tmp_path, fingerprint="f"), stopping=lambda: stop, lost=lambda: lost
    )
    assert not keeper.due()
    lost = frozenset({3})
    assert keeper.due()
    assert not keeper.due(), "it was written"
    lost = frozenset({3, 5})
    assert keeper.due()
    assert not keeper.due()
    stop = True
    assert keeper.due()


@pytest.mark.parametrize(("said", "every"), [("", 30.0), ("0", 0.0), ("2.5", 2.5), ("60", 60.0)])
def test_how_often_is_a_matter_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, every: float
) -> None:
    monkeypatch.setenv(place.EVERY, said)
    assert Checkpoints.of(tmp_path, "f").every == every


@pytest.mark.parametrize("said", ["often", "-1", "nan", "inf", "1e3", " 5"])
def test_what_is_no_number_of_seconds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv(place.EVERY, said)
    with pytest.raises(SpecError, match=r'^WIDTHWISE_CHECKPOINT_SECONDS is ".*", expected seconds'):
        Checkpoints.of(tmp_path, "f")


# Whose


def test_what_was_written_is_found_by_the_next_holder_of_that_very_trial(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path / "new" / "study", fingerprint="f")
    assert keeper_of(checkpoints).load(0) is None
    keeper_of(checkpoints).save(0, SNAPSHOT)
    found = keeper_of(checkpoints).load(0)
    assert found is not None
    assert (found.epochs, found.facts) == (SNAPSHOT.epochs, SNAPSHOT.facts)
    assert torch.equal(found.tensors["0.model.a"], SNAPSHOT.tensors["0.model.a"])


@pytest.mark.parametrize(
    "other",
    [
        replace(TRIAL, widths={"a": 8, "b": 5}),
        replace(TRIAL, seed=8),
    ],
    ids=["widths", "seed"],
)
def test_another_trials_checkpoint_is_not_gone_on_with(
    tmp_path: Path, other: KeptTrial, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(folder=tmp_path, fingerprint="f")
    keeper_of(checkpoints).save(0, SNAPSHOT)
    assert BatchKeeper(checkpoints, [other], lambda: False, frozenset).load(0) is None
    assert "is passed over" in caplog.text


def test_other_code_and_another_slot_find_nothing_of_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where its file was put into their folder."""
    checkpoints = Checkpoints(folder=tmp_path, fingerprint="f")
    keeper_of(checkpoints).save(0, SNAPSHOT)
    assert keeper_of(Checkpoints(folder=tmp_path, fingerprint="g")).load(0) is None
    checkpoints.slot(3).rename(checkpoints.slot(4))
    trials = [replace(TRIAL, number=4), TRIAL]
    keeper = BatchKeeper(checkpoints, trials, lambda: False, frozenset)
    assert keeper.load(0) is None
    assert keeper.load(1) is None
    assert caplog.text.count("is passed over") == 2


def test_a_place_that_cannot_be_written_is_said_once_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "full").write_text("a file where the folder should be")
    checkpoints = Checkpoints(folder=tmp_path / "full", fingerprint="f")
    for _ in range(3):
        keeper_of(checkpoints).save(0, SNAPSHOT)
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "no checkpoints can be written to" in warnings[0].getMessage()
    assert "--checkpoints" in warnings[0].getMessage()
    (tmp_path / "full").unlink()
    keeper_of(checkpoints).save(0, SNAPSHOT)
    assert keeper_of(checkpoints).load(0) is not None


def test_what_is_left_of_settled_slots_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, fingerprint="f")
    checkpoints.sweep({1, 2})  # no folder yet
    for name in ("1", "2", "3", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    checkpoints.sweep({1, 2, 9})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["3", "notes"]
    Checkpoints(folder=tmp_path / "none", fingerprint="f").sweep({1})


# In a study


def kept(study: Bench, folder: Path, every: float = 1e9) -> Checkpoints:
    return Checkpoints(folder=folder, fingerprint=study.row.fingerprint, every=every)


def told(study: Bench) -> list[Any]:
    """What is recorded of each slot, but for the time that it took."""
    return [
        (
            one.number,
            one.widths,
            one.value,
            {k: v for k, v in (one.result or {}).items() if k not in ("seconds", "engine")},
        )
        for one in study.records()
    ]


def test_a_drained_batch_ends_as_if_it_had_never_been_interrupted(
    tmp_path: Path, bench: Make
) -> None:
    """Twice interrupted, at two epochs; each candidate has its own patience, replicas and rates."""
    how: dict[str, Any] = {"trials": 5, "at_once": 3, "epochs": 7, "patience": 3, "replicas": 2}
    study = bench(**how)
    folder = tmp_path / "kept"
    for stops in (2, 3):
        asked = iter([*[False] * stops, True])
        holder = study.holder(
            stopping=lambda asked=asked: next(asked, True), checkpoints=kept(study, folder)
        )
        with pytest.raises(Drained):
            holder.step()
        assert sorted(one.name for one in folder.iterdir()) == ["0", "1", "2"]
        assert {one.attempts for one in study.records()} == {0}
    study.work(checkpoints=kept(study, folder))
    assert list(folder.iterdir()) == [], "they are settled"
    (tmp_path / "other").mkdir()
    url = resolve_url(f"sqlite:///{tmp_path / 'other' / 'study.db'}")
    with Database.open(url, create=True) as database:
        uninterrupted = make_bench(tmp_path / "other", database, **how)
        uninterrupted.work()
        assert told(study) == told(uninterrupted)


def test_an_attempt_that_failed_leaves_its_checkpoint_and_the_last_one_takes_it_away(
    tmp_path: Path, bench: Make
) -> None:
    study = bench(trials=1, trouble=dict.fromkeys(range(1, 41), "raise"))
    checkpoints = kept(study, tmp_path / "kept")
    for kind, there in [("retry", True), ("retry", True), ("error", False)]:
        checkpoints.slot(0).mkdir(parents=True, exist_ok=True)
        (outcome,) = study.holder(checkpoints=checkpoints).step()
        assert outcome.kind == kind
        assert checkpoints.slot(0).exists() == there


@pytest.mark.parametrize("done", [True, False])
def test_a_lost_slots_checkpoint_stays_for_whoever_has_it_now(
    tmp_path: Path, bench: Make, done: bool
) -> None:
    study = bench(trials=3, at_once=2, epochs=4)
    checkpoints = kept(study, tmp_path / "kept")
    runner = study.runner(checkpoints=checkpoints)
    slots = runner.ledger.claim_many(2)
    taken: list[int] = []

    def lost() -> frozenset[int]:
        if not taken:
            taken.append(0)
            (slot,) = study.steal([0])
            if done:
                thief = study.ledger("thief")
                thief.done(slot, outcome="complete", value=1.0, result={})
        return frozenset(taken)

    outcomes = runner.run(slots, lost)
    assert [one.kind for one in outcomes] == ["lost", "complete"]
    assert checkpoints.slot(0).exists() == (not done)
    assert not checkpoints.slot(1).exists()
