"""Lightning: a callback that reports every validation of a `Trainer`, and ends it in good order.

    from widthwise.integrations.lightning import last_checkpoint, trainer_options

    def train(widths, trial):
        trainer = lightning.Trainer(**trainer_options(trial, monitor="val_accuracy"))
        trainer.fit(Classifier(widths), data, ckpt_path=last_checkpoint(trial))

Entry points: `TrialCallback`; `trainer_options`, a Trainer's arguments with it; `last_checkpoint`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from widthwise import StopTraining

from .trial import TrialHandle, read_metric

_LAST = "last.ckpt"


@final
class TrialCallback(Callback):
    """Reports a validation metric to a trial, and logs the others.

    Where the trial is to end, the Trainer ends after its epoch, with its checkpoint written; then
    `Trainer.fit` raises `StopTraining`.

    Args:
        trial: What `train(widths, trial)` is given.
        monitor: Name of the metric, as `self.log` has it.
    """

    def __init__(self, trial: TrialHandle, monitor: str) -> None:
        self._trial, self._monitor = trial, monitor
        self._stopping = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what was validated in the middle of `fit`, and nothing else."""
        if trainer.state.fn is TrainerFn.FITTING and not trainer.sanity_checking:
            self._report(trainer, _epochs_done(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report a metric of the training, where nothing validates."""
        if not trainer.enable_validation:
            self._report(trainer, trainer.current_epoch + 1)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the user's function, too: what follows would be for nothing."""
        if self._stopping:
            raise StopTraining

    def _report(self, trainer: Trainer, epochs: float) -> None:
        value, others = read_metric(
            trainer.callback_metrics, self._monitor, "the Trainer's validation"
        )
        try:
            self._trial.report(epochs, value, others)
        except StopTraining:
            if self._stopping:
                raise  # min_epochs keeps it going
            self._stopping = trainer.should_stop = True


def trainer_options(trial: TrialHandle, monitor: str, **changes: Any) -> dict[str, Any]:
    """Return arguments of a `Trainer` on the trial's device, with the trial's epochs and folder.

    It is quiet, keeps its last checkpoint in the trial's folder, and writes nothing elsewhere.

    Args:
        trial: What `train(widths, trial)` is given.
        monitor: Name of the metric, as `self.log` has it.
        changes: In place of these arguments; `callbacks` are added to ours.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    device = trial.device
    keep_last = ModelCheckpoint(
        dirpath=trial.folder, save_last=True, save_top_k=0, enable_version_counter=False
    )
    options: dict[str, Any] = {
        "accelerator": {"cuda": "gpu"}.get(device.type, device.type),
        "devices": [device.index or 0] if device.type == "cuda" else 1,
        "max_epochs": trial.epochs,
        "default_root_dir": trial.folder,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    callbacks = [TrialCallback(trial, monitor), *changes.pop("callbacks", ()), keep_last]
    return {**options, **changes, "callbacks": callbacks}


def last_checkpoint(trial: TrialHandle) -> Path | None:
    """Return the checkpoint that an earlier try of the trial left; None for its first."""
    path = trial.folder / _LAST
    return path if path.is_file() else None


def _epochs_done(trainer: Trainer) -> float:
    """Return epochs from the beginning; a part of one where validations come within epochs."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    if progress.is_last_batch:
        return trainer.current_epoch + 1
    done, total = progress.current.ready, trainer.num_training_batches
    # A stream does not say how long an epoch is: its parts grow, and stay below a whole one.
    share = done / (done + 1) if total == float("inf") else done / total
    return trainer.current_epoch + share
