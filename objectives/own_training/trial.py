"""The handle that a training of the user's own gets, and what it may ask and report with it.

    def train(widths, trial):
        model = build(widths).to(trial.device)
        for epoch in range(1, trial.epochs + 1):
            ...
            trial.report(epoch, accuracy)
        return accuracy

`report` is where a trial may end before its time: pruned, paused, cancelled, drained with its
worker, or lost to another one. It then raises `StopTraining`, which nobody has to catch.

Entry point: `Trial`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol, final

import torch


class Progress(Protocol):
    """What becomes of the reports of one training."""

    @property
    def should_stop(self) -> bool:
        """Return whether the training is to end; once it said so, nothing else counts any more."""
        ...

    def report(self, step: Any, value: Any, others: Mapping[str, Any] | None = None) -> None:
        """Take a value of the metric, and others at that step; raises StopTraining at an end."""
        ...

    def log(self, values: Mapping[str, Any]) -> None:
        """Take values of other names."""
        ...


@final
class Trial:
    """One training of the user's own, as its function sees it.

    Attributes:
        seed: Of this training, in [0, 2^32), as every library takes it: the same wherever it is
            tried again. The streams of torch, numpy and `random` are seeded from it before the
            function is called.
        device: What to train on.
        epochs: How long to train, as the spec says; None where it says nothing.
        number: Of the trial in its study, from 0.
        costs: What this candidate costs, by name; empty where nothing is counted.
        folder: For the training's own files, such as checkpoints. It is there, and whoever goes on
            with this very trial finds in it what was left; once the trial is settled it is deleted.
    """

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device,
        epochs: int | None,
        number: int,
        costs: Mapping[str, int],
        folder: Path,
        progress: Progress,
    ) -> None:
        self.seed, self.device, self.epochs, self.number = seed, device, epochs, number
        self.costs, self.folder = dict(costs), folder
        self._progress = progress

    @property
    def should_stop(self) -> bool:
        """Whether to end now: for loops that are left by a flag and not by an exception.

        Once it is True, the trial is recorded as stopped, whatever the function returns.
        """
        return self._progress.should_stop

    def report(self, step: float, value: float, others: Mapping[str, float] | None = None) -> None:
        """Report the metric's value after a step.

        Args:
            step: How far the training is, in epochs or whatever the spec's `epochs` counts; above
                0, and each time above the last.
            value: The metric, one number.
            others: Further values at this step, by name, recorded as those of `log` are.

        Raises:
            StopTraining: The training is to end here.
            TrainingError: The step or a value is none.
        """
        self._progress.report(step, value, others)

    def log(self, /, **values: float) -> None:
        """Record other values beside the metric: `trial.log(f1=0.8)`; the last of a name is kept.

        They are of the last step that was reported.

        Raises:
            TrainingError: A value is no number.
        """
        self._progress.log(values)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a trial's handle cannot be sent to another process: report in the process that "
            "Widthwise called your function in"
        )
