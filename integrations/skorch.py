"""skorch: a callback that reports every epoch of a net, and callbacks that keep it in the folder.

    from widthwise.integrations.skorch import trial_callbacks

    def train(widths, trial):
        net = NeuralNetClassifier(
            build(widths),
            device=trial.device,
            callbacks=trial_callbacks(trial, monitor="valid_acc"),
        )
        net.fit(x, y)

Entry points: `TrialCallback`; `trial_callbacks`, with what goes on from a checkpoint.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any, final

from skorch import NeuralNet
from skorch.callbacks import Callback

from .trial import TrialHandle, read_metric

_NOT_LOGGED = re.compile(r"batches$|dur$|epoch$|event_|.*(_best|_batch_count)$")
"""Names in a net's history of what is no figure of the network."""

_STATES = {"params": "module_", "optimizer": "optimizer_", "criterion": "criterion_"}
_EPOCH = "epoch-"
_HISTORY = "history.json"
_WRITING = "writing-"


@final
class TrialCallback(Callback):  # type: ignore[misc]
    """Reports an epoch's metric to a trial, and logs the others.

    Put it last: where the trial is to end, `net.fit` ends there, and raises `StopTraining`.

    Args:
        trial: What `train(widths, trial)` is given.
        monitor: Name of the metric in the net's history, such as "valid_acc".
    """

    def __init__(self, trial: TrialHandle, monitor: str = "valid_loss") -> None:
        self.trial, self.monitor = trial, monitor

    def on_train_begin(self, net: NeuralNet, **_: Any) -> None:
        """Train as long as the spec says, the epochs of earlier tries included."""
        if self.trial.epochs is not None:
            net.max_epochs = max(0, self.trial.epochs - len(net.history))

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """Report the epoch that has just ended."""
        row = net.history[-1]
        figures = {name: row[name] for name in row if not _NOT_LOGGED.match(name)}
        value, others = read_metric(figures, self.monitor, "the net's history")
        self.trial.report(len(net.history), value, others)


@final
class CheckpointCallback(Callback):  # type: ignore[misc]
    """Keeps a net after each epoch, and goes on from what was kept.

    Each epoch is a folder of its own, which has its name once all is written: what is killed
    meanwhile leaves the one before.

    Args:
        folder: Of the trial.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_begin(self, net: NeuralNet, **_: Any) -> None:
        """Go on from the newest checkpoint; begin anew where there is none that is whole."""
        for part in Path(self.folder).glob(f"{_WRITING}*"):  # of a try that was killed
            shutil.rmtree(part, ignore_errors=True)
        kept = [each for each in _checkpoints(self.folder) if _is_whole(each, net)]
        if kept:
            newest = max(kept, key=lambda each: int(each.name.removeprefix(_EPOCH)))
            net.load_params(**_files(newest, net), f_history=str(newest / _HISTORY))

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """Keep the epoch that has just ended, in the place of the one before."""
        whole = Path(self.folder) / f"{_EPOCH}{len(net.history)}"
        shutil.rmtree(whole, ignore_errors=True)  # which could not be loaded
        written = Path(tempfile.mkdtemp(prefix=_WRITING, dir=self.folder))
        net.save_params(**_files(written, net))
        # As numbers what numpy and torch have for them: JSON knows neither.
        history = json.dumps(net.history.to_list(), default=float)
        (written / _HISTORY).write_text(history, encoding="utf-8")
        written.rename(whole)
        for other in _checkpoints(self.folder):
            if other != whole:
                shutil.rmtree(other, ignore_errors=True)


def trial_callbacks(trial: TrialHandle, monitor: str = "valid_loss") -> list[Any]:
    """Return callbacks that report every epoch, keep it in the trial's folder, and go on from it.

    Args:
        trial: What `train(widths, trial)` is given.
        monitor: Name of the metric in the net's history.
    """
    return [
        ("checkpoint", CheckpointCallback(str(trial.folder))),
        ("trial", TrialCallback(trial, monitor)),
    ]


def _checkpoints(folder: str) -> list[Path]:
    found = Path(folder).glob(f"{_EPOCH}*")
    return [path for path in found if path.name.removeprefix(_EPOCH).isdigit()]


def _files(checkpoint: Path, net: NeuralNet) -> dict[str, str]:
    """Return the file of each state of a net, by the name of skorch's argument for it."""
    return {
        f"f_{name}": str(checkpoint / f"{name}.pt")
        for name, attribute in _STATES.items()
        if hasattr(getattr(net, attribute), "state_dict")  # a function as a criterion has none
    }


def _is_whole(checkpoint: Path, net: NeuralNet) -> bool:
    """Return whether all files have an end: a machine that fails may cut off what was written."""
    try:
        json.loads((checkpoint / _HISTORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(zipfile.is_zipfile(file) for file in _files(checkpoint, net).values())
