"""What a trainer plans with: the memory of its device, shared with the workers beside it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from widthwise.search.worker.messages import TrainerConfig
from widthwise.search.worker.trainer import build_runner
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.study.workers import WorkerRegistration, list_workers
from widthwise.tests.command_line import run_in_process

SPEC = """
study = { name = "s", trials = 8 }
model = { family = "mlp" }
widths = { a = [2, 4] }
proxy = { data = "iris", device = "cpu", epochs = 2, engine = "plain", at_once = 2 }
"""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database with a study, and a worker of the name "me" that has just started."""
    monkeypatch.setenv("WIDTHWISE_DEVICE_WORKERS", "1")
    (tmp_path / "s.toml").write_text(SPEC)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    submitted = run_in_process(tmp_path, {"WIDTHWISE_STORAGE": url}, "submit", "s.toml")
    assert submitted.code == 0, submitted.err
    with Database.open(resolve_url(url), create=False) as opened:
        register(opened, "me", device=None)
        yield opened


def register(database: Database, name: str, device: str | None) -> WorkerRegistration:
    registration = WorkerRegistration(database, name=name, beat_seconds=60.0)
    registration.register(study=None, activity="starting", device=device)
    return registration


def test_workers_that_come_and_go_share_the_memory(database: Database, tmp_path: Path) -> None:
    config = TrainerConfig(
        study="s", worker="me", lease_seconds=30.0, threads=1, checkpoints=tmp_path
    )
    runner, _ = build_runner(database, config)
    fits = runner.claim_sizer.max_in_memory
    alone = fits()
    assert alone is not None
    workers = {worker.name: worker for worker in list_workers(database)}
    assert workers["me"].device == runner.device_label
    assert workers["me"].host == socket.gethostname()
    siblings = [register(database, name, runner.device_label) for name in ("one", "two")]
    assert fits() == pytest.approx(alone / 3, abs=1)
    register(database, "on another device", "cuda: H200, 139 GiB, GPU-8e2a41c7")
    assert fits() == pytest.approx(alone / 3, abs=1)
    for sibling in siblings:
        sibling.unregister()
    assert fits() == alone
    for sibling in siblings:
        sibling.register(study=None, activity="training", device=runner.device_label)
    runner, _ = build_runner(database, config)
    fits = runner.claim_sizer.max_in_memory
    among_three = fits()
    assert among_three is not None
    for sibling in siblings:
        sibling.unregister()
    grown = fits()
    assert grown is not None
    assert grown > 2 * among_three, "those that were there when it started count no longer"


def test_what_the_launcher_says_counts_before_anybody_is_registered(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainerConfig(
        study="s", worker="me", lease_seconds=30.0, threads=1, checkpoints=tmp_path
    )
    monkeypatch.setenv("WIDTHWISE_DEVICE_WORKERS", "4")
    runner, _ = build_runner(database, config)
    fits = runner.claim_sizer.max_in_memory
    among_four = fits()
    assert among_four is not None
    siblings = [register(database, f"sibling {at}", runner.device_label) for at in range(7)]
    assert fits() == pytest.approx(among_four / 2, abs=1), "eight are registered"
    for sibling in siblings[3:]:
        sibling.unregister()
    assert fits() == among_four
    for sibling in siblings[:3]:
        sibling.unregister()
    assert fits() == among_four
