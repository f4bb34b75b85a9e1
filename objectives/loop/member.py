"""A member's state: its curve, its best epoch, whether it still runs, and what went wrong.

Entry points: `MemberState`, `MemberStatus`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean
from typing import Any

from ..data.batches import BatchSampler
from ..data.streams.order import EpochOrder
from ..engines.base import Member
from ..errors import describe_error
from ..model.metrics import Metric
from ..training.settings import ProxySettings
from ..training.snapshot import require_equal
from ..user_code import is_out_of_memory
from .evaluation import Validation
from .milestone import Milestone


class MemberStatus(StrEnum):
    """Whether a member is still trained, or how its training ended; the words are stored."""

    RUNNING = "running"
    FINISHED = "finished"
    PRUNED = "pruned"
    NAN = "nan"
    OUT_OF_MEMORY = "out_of_memory"
    ERROR = "error"

    @property
    def is_failure(self) -> bool:
        """Whether the training ended without a figure that counts."""
        return self in (MemberStatus.NAN, MemberStatus.OUT_OF_MEMORY, MemberStatus.ERROR)


_STORED_KEYS = {
    "state": "status",
    "at": "epochs",
    "curve": "curve",
    "losses": "losses",
    "validation_losses": "validation_losses",
    "best": "best",
    "best_loss": "best_loss",
    "best_epoch": "best_epoch",
    "best_at": "best_at",
    "at_rung": "rung_value",
    "test_value": "test_value",
    "train_value": "train_value",
    "reported": "reported",
    "parameters": "parameters",
    "peak_memory": "peak_memory",
    "detail": "detail",
    "loss": "epoch_loss",
}
"""Keys of a snapshot, with the attributes whose values they hold."""


@dataclass(kw_only=True, eq=False)
class MemberState:
    """The state of one member in training.

    Attributes:
        member: The network.
        order: The order of its batches.
        status: Whether it runs, or how it ended.
        epochs: Epochs trained so far, a part of one included.
        curve: Validation metric after each validated epoch.
        losses: Mean training loss of each of these epochs.
        validation_losses: Mean validation loss after each of them.
        best: Validation metric where the smoothed validation loss was lowest so far.
        best_loss: The smoothed validation loss there.
        best_epoch: Index of that epoch in `curve`.
        best_at: Epochs trained by then.
        rung_value: Validation metric at the last rung within an epoch: all there is before the
            first epoch ends.
        test_value: Test metric of the best weights.
        train_value: Their metric on rows they were trained on, as many as validate.
        reported: The further metrics of the best weights on the validation split, by name.
        parameters: Numbers in the network's parameters; 0 if it could not be built.
        peak_memory: Most bytes that it held on a GPU, where that was measured.
        detail: A sentence on what went wrong.
        error: What its model or metric raised.
        weights: The `state_dict` that counts, of a final training that is finished.
        epoch_loss: Mean training loss over the rows of the current epoch so far.
    """

    member: Member
    order: BatchSampler | EpochOrder
    status: MemberStatus = MemberStatus.RUNNING
    epochs: float = 0.0
    curve: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best: float | None = None
    best_loss: float = math.inf
    best_epoch: int = 0
    best_at: float = 0.0
    rung_value: float | None = None
    test_value: float | None = None
    train_value: float | None = None
    reported: dict[str, float] = field(default_factory=dict)
    parameters: int = 0
    peak_memory: int | None = None
    detail: str | None = None
    error: Exception | None = None
    weights: Mapping[str, Any] | None = None
    epoch_loss: float = 0.0

    @property
    def running(self) -> bool:
        """Whether it is still trained."""
        return self.status == MemberStatus.RUNNING

    @property
    def epoch(self) -> int:
        """Index of the epoch that was trained last."""
        return max(0, math.ceil(self.epochs) - 1)

    @property
    def score(self) -> float | None:
        """The validation metric that counts so far; None for a training that failed."""
        if self.status.is_failure:
            return None
        return self.rung_value if self.best is None else self.best

    @property
    def latest(self) -> float | None:
        """The validation metric at the last milestone; None for a training that failed."""
        if self.status.is_failure:
            return None
        return self.curve[-1] if self.curve else self.rung_value

    def state_dict(self) -> dict[str, Any]:
        """Return what a snapshot holds of it, as JSON has it."""
        return {
            **{key: getattr(self, attribute) for key, attribute in _STORED_KEYS.items()},
            "state": self.status.value,
            "reported": dict(self.reported),
            "curve": list(self.curve),
            "losses": list(self.losses),
            "validation_losses": list(self.validation_losses),
            "best_loss": None if self.best is None else self.best_loss,  # JSON has no infinity
            "order": list(self.order.position),
            "seed": self.member.seed,
            "learning_rate": self.member.learning_rate,
        }

    def load_state(self, stored: Mapping[str, Any]) -> None:
        """Take over a stored state; this one must not have been trained.

        Raises:
            IncompatibleSnapshot: It is of another member.
            KeyError, TypeError, ValueError: It was made by something else.
        """
        for name in ("seed", "learning_rate"):
            require_equal(name, stored[name], getattr(self.member, name))
        for key, attribute in _STORED_KEYS.items():
            setattr(self, attribute, stored[key])
        self.status = MemberStatus(stored["state"])
        self.reported = dict(stored["reported"])
        self.curve, self.losses = list(stored["curve"]), list(stored["losses"])
        self.validation_losses = list(stored["validation_losses"])
        self.best_loss = math.inf if stored["best_loss"] is None else stored["best_loss"]
        self.order.load_state(*stored["order"])

    def record_training(
        self, milestone: Milestone, loss: float | None, peak_memory: int | None
    ) -> None:
        """Record what came of training up to a milestone.

        Args:
            milestone: The point reached.
            loss: The mean over the current epoch so far; None where no batch was left to train on.
            peak_memory: Most bytes held on a GPU in this training, where that was measured.
        """
        self.epochs = milestone.epochs
        if loss is not None:
            self.epoch_loss = loss
        if milestone.validate:
            self._require_finite(self.epoch_loss, "training loss")
            if milestone.ends_epoch or self.status == MemberStatus.NAN:
                self.losses.append(self.epoch_loss)
        peaks = [peak for peak in (self.peak_memory, peak_memory) if peak is not None]
        self.peak_memory = max(peaks, default=None)

    def record_validation(
        self,
        milestone: Milestone,
        validation: Validation,
        metric: Metric,
        smoothing: int,
        *,
        last_counts: bool = False,
    ) -> bool:
        """Record what a validation gave; return whether these are the best weights so far.

        The best weights are those where the validation loss, smoothed, is lowest: on few rows a
        metric such as accuracy moves in steps that tell less, and its best is the luckiest epoch.

        Args:
            milestone: Where it was taken; within an epoch only the metric is kept, for the rung.
            validation: Metric and loss over the validation split.
            metric: For its name.
            smoothing: Validations whose mean loss is judged.
            last_counts: Whether the last weights are the best, since these rows are trained on.
        """
        self._require_finite(validation.metric, f"validation {metric.name}")
        if milestone.ends_epoch:
            self._require_finite(validation.loss, "validation loss")
        if not self.running:
            return False
        if not milestone.ends_epoch:
            self.rung_value = validation.metric
            return False
        self.curve.append(validation.metric)
        self.validation_losses.append(validation.loss)
        smoothed_loss = fmean(self.validation_losses[-smoothing:])
        if self.best is not None and smoothed_loss >= self.best_loss and not last_counts:
            return False
        self.best, self.best_loss = validation.metric, smoothed_loss
        self.best_epoch, self.best_at = len(self.curve) - 1, milestone.epochs
        return True

    def should_stop(self, settings: ProxySettings) -> bool:
        """Return whether patience has run out, or the last epoch is done."""
        impatient = (
            settings.patience > 0
            and self.epochs >= settings.min_epochs
            and self.epochs - self.best_at >= settings.patience
        )
        return bool(self.curve) and (impatient or self.epochs >= settings.epochs)

    def fail(self, error: Exception) -> None:
        """Record what its builder, model, metric or memory raised; this ends the training."""
        if is_out_of_memory(error):
            built = self.parameters > 0
            when = f"in epoch {self.epoch}" if built else "while it was built"
            self.status = MemberStatus.OUT_OF_MEMORY
            self.detail = f"memory ran out {when}: {describe_error(error):.200}"
            error.__traceback__ = None  # its frames hold the very tensors there was no room for
        else:
            self.status, self.error = MemberStatus.ERROR, error

    def _require_finite(self, value: float, quantity: str) -> None:
        """End the training unless a figure is finite."""
        if not math.isfinite(value) and self.running:
            self.status = MemberStatus.NAN
            self.detail = f"the {quantity} became {value} in epoch {self.epoch}"
