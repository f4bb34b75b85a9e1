"""All trackers at once, by the real command line; and one that is not installed."""

from __future__ import annotations

import sqlite3
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from widthwise.search.errors import SpecError
from widthwise.search.tracking import registry
from widthwise.tests.search.conftest import SPEC, CommandLine


@pytest.mark.slow
def test_three_trackers_are_told_of_a_run_and_a_fourth_fails_alone(
    cli: CommandLine,
) -> None:
    spec = SPEC.replace("trials = 8", 'trials = 2\ntrackers = ["tensorboard:runs"]')
    (cli.folder / "iris.toml").write_text(spec)
    (cli.folder / "taken").write_text("no folder")
    done = cli(
        *("run", "iris.toml", "--no-confirm", "--json"),
        *("--track", "mlflow:m.db", "--track", "wandb", "--track", "tensorboard:taken/runs"),
        WANDB_MODE="offline",
        MLFLOW_DISABLE_TELEMETRY="true",
    )
    assert done.code == 0, done.err
    assert done.json["trials"]["complete"] == 2
    warnings = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1, done.err
    assert "taken/runs is switched off (NotADirectoryError" in warnings[0]
    for number in range(2):
        read = EventAccumulator(str(cli.folder / "runs" / "iris" / f"trial-000{number}"))
        read.Reload()
        assert [event.step for event in read.Scalars("accuracy")] == [1, 2]
    with sqlite3.connect(cli.folder / "m.db") as database:
        named = database.execute("select name, status from runs order by name").fetchall()
        steps = database.execute("select step from metrics where key = 'accuracy'").fetchall()
    database.close()
    assert named == [("iris/0", "FINISHED"), ("iris/1", "FINISHED")]
    assert sorted(steps) == [(1,), (1,), (2,), (2,)]
    assert len([*cli.folder.glob("wandb/offline-run-*/*.wandb")]) == 2


def test_a_library_that_is_not_there_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_nothing(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(registry, "find_spec", find_nothing)
    with pytest.raises(SpecError, match=r"needs wandb, which is not installed: pip install 'wid"):
        registry.require_installed(["wandb:widths"])


def test_a_tracker_that_is_named_twice_is_told_once(tmp_path: Path) -> None:
    tracking = registry.open_trackers(
        ["tensorboard", f"tensorboard:{tmp_path}/runs"],
        tmp_path,
        study="s",
        study_id="0",
        warn=pytest.fail,
    )
    assert tracking.count == 1
