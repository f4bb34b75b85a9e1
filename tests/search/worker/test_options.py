"""Options of workers: one field each, from which flags and command lines follow."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from widthwise.search.cli.options import expand_options
from widthwise.search.errors import SpecError
from widthwise.search.worker.options import FleetWorkerOptions, WorkerOptions

OPTIONS = WorkerOptions(
    threads=3,
    lease_seconds=7.5,
    checkpoints=Path("/shared/kept"),
    grace_seconds=0.0,
    device="cuda:1",
    parent_pid=4711,
    workers_per_gpu=3,
    track=["tensorboard:/runs", "wandb:widths"],
)


def parse(arguments: list[str]) -> WorkerOptions:
    """Read a command line as `widthwise worker` does."""
    seen: list[WorkerOptions] = []

    def work(options: WorkerOptions) -> None:
        seen.append(options)

    app = typer.Typer()
    app.command()(expand_options(work))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return seen[0]


@pytest.mark.parametrize("options", [OPTIONS, WorkerOptions()], ids=["all set", "defaults"])
def test_a_worker_reads_what_its_command_line_says(options: WorkerOptions) -> None:
    assert parse(options.to_arguments()) == options


@pytest.mark.parametrize("name", [option.name for option in fields(WorkerOptions)])
def test_every_field_has_a_flag(name: str) -> None:
    default = WorkerOptions()
    changed = replace(default, **{name: getattr(OPTIONS, name)})
    assert parse(changed.to_arguments()) == changed != default


def test_what_a_fleet_hands_on_leaves_the_rest_to_the_worker() -> None:
    options = FleetWorkerOptions(threads=2, checkpoints=Path("/c"))
    expected = WorkerOptions(threads=2, checkpoints=Path("/c"))
    assert parse(options.to_arguments()) == expected


def test_a_folder_is_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = FleetWorkerOptions(checkpoints=Path("kept")).to_arguments()
    assert str(tmp_path / "kept") in arguments


@pytest.mark.parametrize(
    "arguments",
    [["--threads", "0"], ["--lease", "0.5"], ["--grace", "-1"]],
    ids=["threads", "lease", "grace"],
)
def test_a_value_below_its_bound_is_refused(arguments: list[str]) -> None:
    app = typer.Typer()

    def work(options: WorkerOptions) -> None:
        raise AssertionError(options)

    app.command()(expand_options(work))
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, SpecError)
    assert arguments[0] in str(error)
