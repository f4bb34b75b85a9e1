"""One worker in this process: what it trains, how it ends, and that it leaves torch alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from widthwise.objectives.held_objects import hold, release
from widthwise.search.errors import Drained, Exhausted, TooManyFailures
from widthwise.search.fleet.in_process import (
    InProcessFleet,
    InProcessTrainer,
    process_settings_kept,
    run_worker,
)
from widthwise.search.problem.memory_share import device_label
from widthwise.search.report.console import PlainConsole
from widthwise.search.spec.spec import parse_spec
from widthwise.search.study import create_or_join_study
from widthwise.search.tracking.background import BackgroundTracker
from widthwise.search.tracking.tracking import Tracking
from widthwise.search.worker.messages import TrainerConfig
from widthwise.search.worker.options import FleetWorkerOptions
from widthwise.search.worker.shutdown import StopRequest
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.ledger.slot import SlotCounts
from widthwise.storage.study.workers import WorkerRegistration
from widthwise.tests.search.tracking.runs import RecordingTracker


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(resolve_url(f"sqlite:///{tmp_path / 'study.db'}")) as opened:
        yield opened


def build(widths: Any) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(4, widths["a"]), torch.nn.ReLU(), torch.nn.Linear(widths["a"], 3)
    )


def run(
    database: Database,
    builder: Callable[..., Any],
    *,
    trials: int = 2,
    stop: StopRequest | None = None,
    ticked: Callable[[], None] = lambda: None,
) -> tuple[InProcessFleet, SlotCounts]:
    """Run a fleet on a small study; returns it, ended, and the study's slots."""
    reference = hold(builder, "build")
    spec = parse_spec(
        {
            "study": {"name": "s", "trials": trials},
            "model": {"build": reference},
            "widths": {"a": [2, 4, 8]},
            "proxy": {
                "data": "iris",
                "device": "cpu",
                "epochs": 2,
                "folds": 1,
                "engine": "plain",
                "at_once": 1,
            },
        }
    )
    console = PlainConsole(stderr=True)
    study = create_or_join_study(spec, Path.cwd(), lambda: database, console)
    fleet = InProcessFleet(database, "s", FleetWorkerOptions(), stop or StopRequest())
    try:
        fleet.watch(ticked)
    finally:
        fleet.close()
        release([reference])
    return fleet, LedgerReader(database, study).counts()


def test_it_trains_in_this_process_to_the_end_of_the_budget(database: Database) -> None:
    processes, ticks = set(), []

    def noting(widths: Any) -> torch.nn.Module:
        processes.add(os.getpid())
        return build(widths)

    fleet, counts = run(database, noting, ticked=lambda: ticks.append(fleet_count(database)))
    assert processes == {os.getpid()}
    assert (counts.complete, counts.running) == (2, 0)
    assert [worker_exit.exit_code for worker_exit in fleet.exits()] == [0]
    assert fleet.running() == 0
    # At the beginning, after each trial, and at the end.
    assert ticks[0] == 0
    assert {1, 2} <= set(ticks)


@pytest.mark.parametrize("before", [None, "2"], ids=["none said", "two said"])
def test_how_many_share_the_device_is_said_only_while_it_trains(
    before: str | None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIDTHWISE_DEVICE_WORKERS", before or "")
    if before is None:
        monkeypatch.delenv("WIDTHWISE_DEVICE_WORKERS")
    register_two(database)
    said = set()

    def noting(widths: Any) -> torch.nn.Module:
        said.add(os.environ.get("WIDTHWISE_DEVICE_WORKERS"))
        return build(widths)

    run(database, noting, trials=1)
    assert "3" in said
    assert os.environ.get("WIDTHWISE_DEVICE_WORKERS") == before


def test_a_model_that_is_loaded_again_is_not_told_of_who_has_left(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIDTHWISE_DEVICE_WORKERS", "2")
    proxy = {"data": "iris", "device": "cpu", "epochs": 2, "folds": 1, "engine": "plain"}
    spec = parse_spec(
        {
            "study": {"name": "s", "trials": 1},
            "model": {"family": "mlp"},
            "widths": {"a": [2, 4, 8]},
            "proxy": proxy,
        }
    )
    console = PlainConsole(stderr=True)
    create_or_join_study(spec, tmp_path, lambda: database, console)
    siblings = register_two(database)
    context: Any = SimpleNamespace(database=database)
    trainer = InProcessTrainer(
        TrainerConfig(study="s", worker="me", lease_seconds=30, threads=1, checkpoints=tmp_path),
        context,
    )
    with process_settings_kept():
        for expected in ("3", "2"):
            trainer.start()
            assert os.environ["WIDTHWISE_DEVICE_WORKERS"] == expected
            trainer.release_device()
            for sibling in siblings:
                sibling.unregister()


def register_two(database: Database) -> list[WorkerRegistration]:
    """Register two other workers on the device."""
    siblings = [
        WorkerRegistration(database, name=name, beat_seconds=60.0) for name in ("one", "two")
    ]
    for sibling in siblings:
        sibling.register(study=None, activity="training", device=device_label(torch.device("cpu")))
    return siblings


def fleet_count(database: Database) -> int:
    from widthwise.storage.study.study import load_study

    return LedgerReader(database, load_study(database, "s")).counts().complete


def test_its_trackers_are_closed_with_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    trackers: list[BackgroundTracker] = []
    threads: list[threading.Thread] = []

    def open_one(*_: object, study: str, study_id: str, **__: object) -> Tracking:
        before = set(threading.enumerate())  # other tests have some, too
        trackers.append(BackgroundTracker("some", RecordingTracker, pytest.fail))
        threads.extend(set(threading.enumerate()) - before)
        return Tracking(trackers, study=study, study_id=study_id)

    monkeypatch.setattr("widthwise.search.tracking.registry.open_trackers", open_one)
    run(database, build)
    [thread] = threads
    thread.join(60)
    assert not thread.is_alive()


def test_a_stop_ends_it_with_the_slot_given_back(database: Database) -> None:
    stop = StopRequest()

    def after_the_first() -> None:
        if fleet_count(database) == 1:
            stop.request()

    fleet, counts = run(database, build, trials=3, stop=stop, ticked=after_the_first)
    assert (counts.complete, counts.running, counts.waiting) == (1, 0, 2)
    assert [worker_exit.exit_code for worker_exit in fleet.exits()] == [Drained.exit_code]


def test_every_candidate_tried_is_a_good_end(database: Database) -> None:
    fleet, counts = run(database, build, trials=5)
    assert counts.complete == 3
    assert [worker_exit.exit_code for worker_exit in fleet.exits()] == [0]


def test_what_ends_a_worker_for_a_reason_of_its_own_is_raised() -> None:
    def fail() -> None:
        raise TooManyFailures("six in a row")

    with pytest.raises(TooManyFailures, match="six in a row"):
        run_worker(fail)

    def exhaust() -> None:
        raise Exhausted("all were tried")

    assert run_worker(exhaust).exit_code == 0


def test_torch_has_its_threads_back_whatever_happens() -> None:
    before = torch.get_num_threads()

    def change() -> None:
        with process_settings_kept():
            torch.set_num_threads(before + 1)
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        change()
    assert torch.get_num_threads() == before
