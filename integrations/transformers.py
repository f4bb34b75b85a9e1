"""Hugging Face: a callback that reports each evaluation of a `Trainer`, and ends it in good order.

    from widthwise.integrations.transformers import TrialCallback, last_checkpoint
    from widthwise.integrations.transformers import training_arguments

    def train(widths, trial):
        trainer = Trainer(
            model=build(widths),
            args=training_arguments(trial),
            train_dataset=…,
            eval_dataset=…,
            callbacks=[TrialCallback(trial, monitor="eval_loss")],
        )
        trainer.train(resume_from_checkpoint=last_checkpoint(trial))

Entry points: `TrialCallback`, `training_arguments`, `last_checkpoint`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from widthwise import StopTraining

from .trial import TrialHandle, read_metric, read_numbers

_SOURCE = "the Trainer's evaluation"
_STATE = "trainer_state.json"
_NOT_LOGGED = re.compile(r"epoch$|.*_(runtime|per_second|time)$")
"""Names of figures of the machine, not of the network."""


@final
class TrialCallback(TrainerCallback):
    """Reports an evaluation's metric to a trial, and logs the others.

    Where the trial is to end, the Trainer writes its checkpoint and ends; then `Trainer.train`
    raises `StopTraining`.

    Args:
        trial: What `train(widths, trial)` is given.
        monitor: Name of the metric, as `Trainer.evaluate` returns it.
    """

    def __init__(self, trial: TrialHandle, monitor: str = "eval_loss") -> None:
        self._trial, self._monitor = trial, monitor
        self._training = self._stopping = self._found = False
        self._without: dict[str, Any] = {}  # what evaluations gave that had no such metric
        self._waiting: dict[str, float] = {}  # figures of a step that is not reported yet
        self._reported_at: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Report from here on: `Trainer.evaluate` before or after it is nobody's step."""
        self._training = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Report what was evaluated in the middle of `train`.

        Of several sets each is evaluated for itself: those without the metric are logged.
        """
        if not self._training or not state.epoch:
            return
        figures = metrics or {}
        kept = {
            name: number
            for name, number in read_numbers(figures).items()
            if name != self._monitor and not _NOT_LOGGED.match(name)
        }
        if self._monitor not in figures:
            self._without.update(figures)
            if state.epoch == self._reported_at:
                self._trial.log(**kept)
            else:  # the set with the metric is yet to come: they are of its step
                self._waiting.update(kept)
            return
        self._found = True
        kept, self._waiting, self._reported_at = {**self._waiting, **kept}, {}, state.epoch
        value, _others = read_metric(figures, self._monitor, _SOURCE)
        try:
            self._trial.report(state.epoch, value, kept)
        except StopTraining:
            self._stopping = control.should_training_stop = control.should_save = True

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Go no further where no evaluation of the epochs before had the metric."""
        self._check_found()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """End the user's function, too: what follows would be for nothing."""
        self._training = False
        if self._stopping:
            raise StopTraining
        self._check_found()

    def _check_found(self) -> None:
        if self._without and not self._found:
            read_metric(self._without, self._monitor, _SOURCE)  # which says what there is instead


def training_arguments(trial: TrialHandle, **changes: Any) -> TrainingArguments:
    """Return a Trainer's arguments: the trial's device, seed, epochs and folder.

    It evaluates and keeps a checkpoint after every epoch, is quiet, and reports to no tracker by
    itself.

    Args:
        trial: What `train(widths, trial)` is given.
        changes: In place of these arguments.
    """
    options: dict[str, Any] = {
        "output_dir": str(trial.folder),
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": trial.seed,
        "use_cpu": trial.device.type == "cpu",
        # Few workers' processes and no warning on a CPU, where nothing is to be pinned.
        "dataloader_pin_memory": trial.device.type == "cuda",
    }
    if trial.epochs is not None:
        options["num_train_epochs"] = trial.epochs
    with _accelerate_on(trial.device):
        arguments = TrainingArguments(**{**options, **changes})
        if arguments.device != trial.device and trial.device.type == "cuda":
            arguments.__dict__["_setup_devices"] = trial.device  # which is cached there
    # A trial has one device: the others are other trials'.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def last_checkpoint(trial: TrialHandle) -> str | None:
    """Return the newest whole checkpoint that an earlier try left; None for the first one."""
    folders = [path for path in trial.folder.glob("checkpoint-*") if _is_whole(path)]
    newest = max(folders, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _is_whole(folder: Path) -> bool:
    """Return whether a checkpoint was written to its end: its state is the last of its files."""
    try:
        json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return folder.name.rpartition("-")[2].isdigit()


@contextmanager
def _accelerate_on(device: torch.device) -> Iterator[None]:
    """Let Accelerate take a device, as far as it has not begun."""
    name, before = "ACCELERATE_TORCH_DEVICE", os.environ.get("ACCELERATE_TORCH_DEVICE")
    if device.type != "cpu":
        os.environ[name] = str(device)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
