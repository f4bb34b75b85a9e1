"""A fleet's workers: what each is started with, no GPU and no process being needed for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from widthwise.search.command import format_command
from widthwise.search.errors import SpecError
from widthwise.search.fleet.run import run_fleet
from widthwise.search.fleet.worker_fleet import Launcher
from widthwise.search.fleet.worker_process import WorkerExit
from widthwise.search.spec.spec import parse_spec
from widthwise.search.worker.options import FleetWorkerOptions
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.study.study import create_study


class EndedWorker:
    """A worker that has drained already."""

    def poll(self) -> WorkerExit:
        return WorkerExit(exit_code=75, message="")

    def signal(self, signum: object) -> None:
        """There is nobody to hear it."""

    def close(self) -> None:
        """It is closed."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(resolve_url(f"sqlite:///{tmp_path / 'study.db'}")) as opened:
        yield opened


def start_fleet(
    database: Database,
    *,
    name: str,
    device: str,
    workers: int,
    gpus: int,
    launcher: Launcher = Launcher.LOCAL,
    options: Mapping[str, Any] | None = None,
) -> tuple[list[Sequence[str]], list[Mapping[str, str]], str]:
    """Run a fleet on a study; returns the workers' command lines and variables, and the output."""
    spec = parse_spec(
        {
            "study": {"name": name, "trials": 8},
            "model": {"family": "mlp"},
            "widths": {"a": [2, 4]},
            "proxy": {"data": "iris", "device": device},
        }
    )
    create_study(
        database,
        name=name,
        spec=spec.to_json(),
        fingerprint="f",
        direction="maximize",
        metric="accuracy",
        base="",
        budget=8,
    )
    command_lines, environments = [], []

    def start(arguments: Sequence[str], _url: object, *, environment: Mapping[str, str]) -> Any:
        command_lines.append(arguments)
        environments.append(environment)
        return EndedWorker()

    output = StringIO()
    code = run_fleet(
        database,
        name,
        FleetWorkerOptions(**(options or {})),
        Console(file=output, width=200),
        worker_count=workers,
        launcher=launcher,
        start_worker=start,
        gpu_count=lambda: gpus,
    )
    assert code == 75
    return command_lines, environments, output.getvalue()


@pytest.fixture(autouse=True)
def _all_gpus_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_each_worker_gets_a_gpu_of_its_own(database: Database) -> None:
    _, environments, output = start_fleet(database, name="s", device="cuda", workers=4, gpus=4)
    assert [item["CUDA_VISIBLE_DEVICES"] for item in environments] == ["0", "1", "2", "3"]
    assert "GPU 0: worker 1; GPU 1: worker 2; GPU 2: worker 3; GPU 3: worker 4" in output


def test_more_workers_than_gpus_share_them(database: Database) -> None:
    _, environments, output = start_fleet(database, name="s", device="cuda", workers=5, gpus=2)
    assert [item["CUDA_VISIBLE_DEVICES"] for item in environments] == ["0", "1", "0", "1", "0"]
    assert "GPU 0: workers 1, 3, 5; GPU 1: workers 2, 4" in output


def test_four_pretended_gpus_and_six_workers(database: Database) -> None:
    _, environments, output = start_fleet(database, name="s", device="cuda", workers=6, gpus=4)
    assert [
        (item["CUDA_VISIBLE_DEVICES"], item["WIDTHWISE_DEVICE_WORKERS"]) for item in environments
    ] == [("0", "2"), ("1", "2"), ("2", "1"), ("3", "1"), ("0", "2"), ("1", "2")]
    assert "GPU 0: workers 1, 5; GPU 1: workers 2, 6; GPU 2: worker 3; GPU 3: worker 4" in output
    assert "they share its memory" in output


def test_workers_that_a_gpu_is_meant_for_are_no_news(database: Database) -> None:
    lines, _, output = start_fleet(
        database,
        name="s",
        device="cuda",
        workers=8,
        gpus=4,
        options={"workers_per_gpu": 2},
    )
    assert "more than" not in output
    assert all(line[line.index("--workers-per-gpu") + 1] == "2" for line in lines)


def test_what_this_process_sees_is_what_is_handed_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    _, environments, _ = start_fleet(database, name="s", device="cuda", workers=3, gpus=8)
    assert [item["CUDA_VISIBLE_DEVICES"] for item in environments] == ["6", "7", "6"]


def test_what_a_scheduler_assigned_stands(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm numbers a step's GPUs anew within its control group: its own numbers name nothing."""
    monkeypatch.setenv("SLURM_STEP_GPUS", "5")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    _, environments, _ = start_fleet(database, name="s", device="cuda", workers=2, gpus=8)
    assert environments == [{"WIDTHWISE_DEVICE_WORKERS": "2"}] * 2


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_device_with_a_name_is_shown_as_it_is(database: Database, device: str) -> None:
    _, environments, output = start_fleet(database, name="s", device=device, workers=2, gpus=4)
    assert environments == [{"WIDTHWISE_DEVICE_WORKERS": "2"}] * 2
    assert ("GPU: workers 1, 2; more than 1" in output) == (device != "cpu")


def test_an_explicit_device_overrules(database: Database) -> None:
    lines, environments, _ = start_fleet(
        database, name="s", device="cuda", workers=2, gpus=4, options={"device": "cuda:3"}
    )
    assert not any("CUDA_VISIBLE_DEVICES" in environment for environment in environments)
    assert all(line[line.index("--device") + 1] == "cuda:3" for line in lines)


def test_a_device_of_another_kind_is_refused(database: Database) -> None:
    with pytest.raises(SpecError, match=r'--device: found "cpu", but study s is .* on "cuda"'):
        start_fleet(database, name="s", device="cuda", workers=1, gpus=1, options={"device": "cpu"})


def test_ray_hands_out_gpus_itself(database: Database) -> None:
    with pytest.raises(SpecError, match=r"--on ray: .*cuda:1.*write"):
        start_fleet(database, name="s", device="cuda:1", workers=1, gpus=2, launcher=Launcher.RAY)


@pytest.mark.parametrize("name", ["s", "my study/1", "-x", "--json", "größe"])
def test_any_name_reaches_the_workers_behind_all_flags(database: Database, name: str) -> None:
    [line], _, output = start_fleet(database, name=name, device="cpu", workers=1, gpus=0)
    assert list(line[-2:]) == ["--", name]
    assert line[0] == "worker"
    assert format_command("resume", name) in output
