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

import re
from typing import Any, final

from skorch import NeuralNet
from skorch.callbacks import Callback, Checkpoint, LoadInitState

from .trial import TrialHandle, read_metric

_NOT_LOGGED = re.compile(r"batches$|dur$|epoch$|event_|.*(_best|_batch_count)$")
"""Names in a net's history of what is no figure of the network."""


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
        self.trial.log(**others)
        self.trial.report(len(net.history), value)


def trial_callbacks(trial: TrialHandle, monitor: str = "valid_loss") -> list[Any]:
    """Return callbacks that report every epoch, keep it in the trial's folder, and go on from it.

    Args:
        trial: What `train(widths, trial)` is given.
        monitor: Name of the metric in the net's history.
    """
    checkpoint = Checkpoint(
        dirname=str(trial.folder), monitor=None, f_history="history.json", load_best=False
    )
    return [
        ("resume", LoadInitState(checkpoint)),
        ("checkpoint", checkpoint),
        ("trial", TrialCallback(trial, monitor)),
    ]
