"""TensorBoard: a folder of event files for every trial, `FOLDER/STUDY/trial-0007`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final
from urllib.parse import quote

from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from .tracker import TrackedEnd, TrackedRun, TrackedTrial

# TensorBoard's file writer flushes what waits as often; a trial that is watched is read meanwhile.
_FLUSH_SECONDS = 5
_MARK = "study_id.txt"


@final
class TensorBoardTracker:
    """Writes event files below a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def start(self, trial: TrackedTrial) -> TrackedRun:
        """Return the trial's run; one that goes on adds a file to its folder."""
        study_folder = _study_folder(self._folder, trial)
        return _Run(study_folder / f"trial-{trial.number:04d}", trial)


@final
class _Run:
    """One trial's event file; it is opened with its first figures."""

    def __init__(self, folder: Path, trial: TrackedTrial) -> None:
        self._folder, self._trial = folder, trial
        self._writer: SummaryWriter | None = None
        self._figures: dict[str, float] = {}
        self._last_step = 0

    def report(self, step: int, figures: Mapping[str, float]) -> None:
        writer = self._open(step)
        self._figures.update(figures)
        self._last_step = step
        for name, value in figures.items():
            writer.add_scalar(name, value, step)

    def end(self, end: TrackedEnd) -> None:
        writer = self._open(self._last_step)
        final_figures = {f"final/{name}": value for name, value in end.figures.items()}
        for name, value in final_figures.items():
            writer.add_scalar(name, value, self._last_step)
        detail = f": {end.detail}" if end.detail else ""
        writer.add_text("outcome", f"{end.outcome}{detail}", self._last_step)
        if end.is_final:
            parameters = {
                name: value if isinstance(value, bool | int | float | str) else str(value)
                for name, value in self._trial.parameters.items()
            }
            file_writer = writer._get_file_writer()  # type: ignore[no-untyped-call]
            for summary in hparams(parameters, final_figures):  # type: ignore[no-untyped-call]
                file_writer.add_summary(summary)
        writer.close()

    def _open(self, first_step: int) -> SummaryWriter:
        if self._writer is None:
            # What a lost attempt wrote at these steps and after them is not shown twice.
            purge = first_step if self._folder.is_dir() else None
            self._writer = SummaryWriter(
                str(self._folder), purge_step=purge, flush_secs=_FLUSH_SECONDS
            )
            listed = "\n".join(
                f"| {name} | {value} |" for name, value in self._trial.parameters.items()
            )
            self._writer.add_text("trial", f"| parameter | value |\n|---|---|\n{listed}", 0)
            self._writer.flush()
        return self._writer


def _study_folder(parent: Path, trial: TrackedTrial) -> Path:
    """Return the study's folder: of its name, unless another study of that name has it."""
    folder = parent / safe_name(trial.study)
    folder.mkdir(exist_ok=True)
    mark = folder / _MARK
    try:
        with mark.open("x", encoding="utf-8") as file:
            file.write(trial.study_id)
    except FileExistsError:
        if mark.read_text(encoding="utf-8") not in ("", trial.study_id):
            return parent / f"{folder.name}-{trial.study_id}"
    return folder


def safe_name(name: str) -> str:
    """Return a study's name as that of a folder: nothing in it leads elsewhere."""
    quoted = quote(name, safe=" ")
    return quoted.replace(".", "%2E") if quoted.strip(".") == "" else quoted
