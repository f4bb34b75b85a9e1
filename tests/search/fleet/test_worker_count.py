"""`--workers auto`: the devices are made up."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from widthwise.search.errors import SpecError
from widthwise.search.flags import AUTO_WORKERS
from widthwise.search.fleet.worker_count import resolve_worker_count
from widthwise.search.fleet.worker_fleet import Launcher
from widthwise.search.spec.spec import parse_spec
from widthwise.search.worker.options import FleetWorkerOptions
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.study.study import create_study


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with a study for GPUs."""
    with Database.open(resolve_url(f"sqlite:///{tmp_path / 'study.db'}")) as opened:
        spec = parse_spec(
            {
                "study": {"name": "s", "trials": 8},
                "model": {"family": "mlp"},
                "widths": {"a": [2, 4]},
                "proxy": {"data": "iris", "device": "cuda"},
            }
        )
        create_study(
            opened,
            name="s",
            spec=spec.to_json(),
            fingerprint="f",
            direction="maximize",
            metric="accuracy",
            base="",
            budget=8,
        )
        yield opened


@pytest.fixture(autouse=True)
def _all_gpus_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(("per_gpu", "expected"), [(1, 4), (2, 8)])
def test_auto_is_one_worker_on_each_gpu(database: Database, per_gpu: int, expected: int) -> None:
    output = StringIO()
    workers = resolve_worker_count(
        AUTO_WORKERS,
        database,
        "s",
        FleetWorkerOptions(workers_per_gpu=per_gpu),
        Console(file=output, width=200),
        gpu_count=lambda: 4,
    )
    assert workers == expected
    assert f"{expected} workers on this machine" in output.getvalue()


def test_a_number_is_a_number(database: Database) -> None:
    output = StringIO()
    assert resolve_worker_count(3, database, "s", FleetWorkerOptions(), Console(file=output)) == 3
    assert not output.getvalue()


def test_what_ray_has_is_not_counted_here(database: Database) -> None:
    with pytest.raises(SpecError, match='found "auto" with --on ray'):
        resolve_worker_count(
            AUTO_WORKERS, database, "s", FleetWorkerOptions(), Console(), Launcher.RAY
        )
