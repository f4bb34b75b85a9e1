"""The course of one training: its curve, its best, when it stops, and what went wrong.

Entry point: `Course`.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from .engines.base import Member
from .errors import reason
from .metrics import Metric
from .order import Order
from .out_of_memory import is_out_of_memory
from .proxy import ProxySettings

State = Literal["running", "finished", "pruned", "nan", "out_of_memory", "error"]


@dataclass(kw_only=True)
class Course:
    """One member's way through the training.

    Attributes:
        candidate: Place of its candidate among those trained together.
        member: The network.
        order: Its batches.
        state: Running, or how it ended.
        curve: Validation metric after each epoch.
        losses: Mean training loss of each epoch.
        best: Best metric so far, at an epoch's end.
        best_epoch: Its epoch.
        at_rung: Metric at the last rung inside an epoch: what there is before the first epoch ends.
        test_value: Test metric of the best weights.
        parameters: Numbers in the network's parameters.
        peak_memory: Most bytes that it held on a GPU, where that was measured.
        detail: A sentence on what went wrong.
        error: What its model or metric raised.
    """

    candidate: int
    member: Member
    order: Order
    state: State = "running"
    curve: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    at_rung: float | None = None
    test_value: float | None = None
    parameters: int = 0
    peak_memory: int | None = None
    detail: str | None = None
    error: Exception | None = None
    _loss_so_far: float = 0.0
    _rows_so_far: int = 0

    def trained(self, loss: float, rows: int, *, epoch_ended: bool) -> None:
        """Take the mean training loss of so many rows; of none where a stop brought no batch."""
        self._loss_so_far += loss * rows
        self._rows_so_far += rows
        self._require_finite(loss, "training loss")
        if epoch_ended or self.state == "nan":
            self.losses.append(self._loss_so_far / self._rows_so_far)
            self._loss_so_far, self._rows_so_far = 0.0, 0

    def judged(self, value: float, metric: Metric, *, epoch_ended: bool) -> bool:
        """Take a validation metric; returns whether it is the best at an epoch's end."""
        self._require_finite(value, f"validation {metric.name}")
        if self.state != "running":
            return False
        if not epoch_ended:
            self.at_rung = value
            return False
        self.curve.append(value)
        if not metric.better(value, self.best):
            return False
        self.best, self.best_epoch = value, len(self.curve) - 1
        return True

    def tired(self, settings: ProxySettings) -> bool:
        """Whether no further epoch is worth its time, or none is left."""
        waited = len(self.curve) - 1 - self.best_epoch
        impatient = settings.patience > 0 and waited >= settings.patience
        return bool(self.curve) and (impatient or len(self.curve) >= settings.epochs)

    @property
    def failed(self) -> bool:
        """Whether it came to nothing."""
        return self.state in ("nan", "out_of_memory", "error")

    @property
    def score(self) -> float | None:
        """The best metric so far; None for a training that failed."""
        if self.failed:
            return None
        return self.at_rung if self.best is None else self.best

    @property
    def present(self) -> float | None:
        """The metric at the last stop; None for a training that failed."""
        if self.failed:
            return None
        return self.curve[-1] if self.curve else self.at_rung

    def fail(self, error: Exception, *, built: bool = True) -> None:
        """Note what its model, metric or memory raised."""
        if is_out_of_memory(error):
            where = f"in epoch {len(self.curve)}" if built else "while it was built"
            self.state = "out_of_memory"
            self.detail = f"memory ran out {where}: {reason(error):.200}"
            error.__traceback__ = None  # its frames hold the very tensors there was no room for
        else:
            self.state, self.error = "error", error

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value) and self.state == "running":
            self.state = "nan"
            self.detail = f"the {what} became {value} in epoch {len(self.curve)}"
