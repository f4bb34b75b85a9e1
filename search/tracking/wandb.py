"""Weights & Biases: a run for every trial, online, or offline where WANDB_MODE says so.

Runs of a study are one group; those of a retried trial have one id.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

import wandb

from .tracker import TrackedEnd, TrackedRun, TrackedTrial

_PROJECT = "widthwise"


@final
class WandbTracker:
    """Makes runs in one project.

    Args:
        project: Its name; empty for "widthwise".
        folder: Where wandb's own files go, in `wandb/`, unless WANDB_DIR says otherwise.
    """

    def __init__(self, project: str, folder: Path) -> None:
        self._project, self._folder = project or _PROJECT, folder
        self._open_runs: set[str] = set()
        self._settings = wandb.Settings(
            silent=True,
            console="off",  # else it takes over standard output
            disable_git=True,
            disable_code=True,
            save_code=False,
            quiet=True,
            x_disable_stats=True,  # a sampler of the machine for every trial of a batch
            x_disable_machine_info=True,
        )

    def start(self, trial: TrackedTrial) -> TrackedRun:
        """Return the trial's run: of the same id however often it is tried."""
        run = wandb.init(
            project=self._project,
            name=trial.name,
            id=f"{trial.study_id}-{trial.number}",
            group=trial.study,
            config={"trial": trial.number, "attempt": trial.attempt, **trial.parameters},
            dir=None if os.environ.get("WANDB_DIR") else str(self._folder),
            reinit="create_new",
            resume="allow",
            settings=self._settings,
        )
        self._open_runs.add(run.id)
        return _Run(run, self._close)

    def _close(self, run_id: str) -> None:
        """Wait, after the last of the runs, until wandb's service has written all of them.

        A run's own end returns before that, and a trainer is killed when its work is done.
        """
        self._open_runs.discard(run_id)
        if not self._open_runs and wandb.run is None:  # else one of the user's own is open
            wandb.teardown()


@final
class _Run:
    """One run; every step is one row."""

    def __init__(self, run: wandb.Run, close: Callable[[str], None]) -> None:
        self._run, self._close = run, close

    def report(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({**figures, "epoch": step}, step=step)

    def end(self, end: TrackedEnd) -> None:
        self._run.summary["outcome"] = end.outcome
        if end.detail:
            self._run.summary["detail"] = end.detail
        for name, value in end.figures.items():
            self._run.summary[f"final/{name}"] = value
        self._run.finish(exit_code=0 if end.succeeded or not end.is_final else 1)
        self._close(self._run.id)
