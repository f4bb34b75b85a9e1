"""A trial that keeps what it is told, and says when to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from widthwise.objectives.errors import StopTraining
from widthwise.objectives.own_training.trial import Trial


class RecordedProgress:
    """Keeps reports; the one after `stop_after` of them is answered by StopTraining."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.reports: list[tuple[float, float]] = []
        self.logged: dict[str, float] = {}
        self.logged_at: dict[str, dict[float, float]] = {}  # name to step to value
        self._stop_after = stop_after

    @property
    def should_stop(self) -> bool:
        return self._stop_after is not None and len(self.reports) >= self._stop_after

    def report(self, step: Any, value: Any, others: Any = None) -> None:
        assert not self.reports or step > self.reports[-1][0]
        self.reports.append((float(step), float(value)))
        self.log(others or {})
        if self.should_stop:
            raise StopTraining

    def log(self, values: Any) -> None:
        self.logged.update(values)
        step = self.reports[-1][0] if self.reports else 0.0  # as `ReportedProgress` tells trackers
        for name, value in values.items():
            self.logged_at.setdefault(name, {})[step] = value


def a_trial(folder: Path, progress: RecordedProgress, epochs: int | None = 4) -> Trial:
    folder.mkdir(exist_ok=True)
    return Trial(
        seed=3,
        device=torch.device("cpu"),
        epochs=epochs,
        number=0,
        costs={},
        folder=folder,
        progress=progress,
    )
