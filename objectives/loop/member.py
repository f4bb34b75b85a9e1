"""The course of one training: its curve, its best, when it stops, and what went wrong.

Entry point: `MemberState`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..data.batches import BatchSampler
from ..engines.base import Member
from ..errors import describe_error
from ..model.metrics import Metric
from ..training.settings import ProxySettings
from ..training.snapshot import IncompatibleSnapshot
from ..user_code import is_out_of_memory

MemberStatus = Literal["running", "finished", "pruned", "nan", "out_of_memory", "error"]

_STORED_FIELDS = (
    "state",
    "at",
    "curve",
    "losses",
    "best",
    "best_epoch",
    "at_rung",
    "test_value",
    "parameters",
    "peak_memory",
    "detail",
)
"""Attributes that a snapshot holds as they are."""


@dataclass(kw_only=True)
class MemberState:
    """One member's way through the training.

    Attributes:
        candidate_index: Place of its candidate among those trained together.
        member: The network.
        order: Its batches.
        state: Running, or how it ended.
        at: Epochs that it is through with, a part of one included.
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

    candidate_index: int
    member: Member
    order: BatchSampler
    state: MemberStatus = "running"
    at: float = 0.0
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
    _epoch_loss: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what a snapshot holds of it, as JSON has it."""
        return {
            **{name: getattr(self, name) for name in _STORED_FIELDS},
            "curve": list(self.curve),
            "losses": list(self.losses),
            "loss": self._epoch_loss,
            "order": list(self.order.position),
            "seed": self.member.seed,
            "learning_rate": self.member.learning_rate,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Be where the facts say; it must not have begun.

        Raises:
            IncompatibleSnapshot: They are of another member.
        """
        for name in ("seed", "learning_rate"):
            expected = getattr(self.member, name)
            if state[name] != expected:
                raise IncompatibleSnapshot(
                    f"its {name} is {state[name]}, that of the training {expected}"
                )
        for name in _STORED_FIELDS:
            setattr(self, name, state[name])
        self.curve, self.losses = list(state["curve"]), list(state["losses"])
        self._epoch_loss = state["loss"]
        self.order.load_state(*state["order"])

    def set_epoch_loss(self, loss: float) -> None:
        """Take the mean training loss of the rows since the epoch began."""
        self._epoch_loss = loss

    def check_epoch_loss(self, *, epoch_ended: bool) -> None:
        """Look at the training loss, at a stop."""
        self._check_finite(self._epoch_loss, "training loss")
        if epoch_ended or self.state == "nan":
            self.losses.append(self._epoch_loss)

    def add_validation(self, value: float, metric: Metric, *, epoch_ended: bool) -> bool:
        """Take a validation metric; returns whether it is the best at an epoch's end."""
        self._check_finite(value, f"validation {metric.name}")
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

    def should_stop(self, settings: ProxySettings) -> bool:
        """Whether no further epoch is worth its time, or none is left."""
        epochs_waited = len(self.curve) - 1 - self.best_epoch
        impatient = settings.patience > 0 and epochs_waited >= settings.patience
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
    def latest(self) -> float | None:
        """The metric at the last stop; None for a training that failed."""
        if self.failed:
            return None
        return self.curve[-1] if self.curve else self.at_rung

    def fail(self, error: Exception, *, built: bool = True) -> None:
        """Note what its model, metric or memory raised."""
        if is_out_of_memory(error):
            when = f"in epoch {len(self.curve)}" if built else "while it was built"
            self.state = "out_of_memory"
            self.detail = f"memory ran out {when}: {describe_error(error):.200}"
            error.__traceback__ = None  # its frames hold the very tensors there was no room for
        else:
            self.state, self.error = "error", error

    def _check_finite(self, value: float, quantity: str) -> None:
        if not math.isfinite(value) and self.state == "running":
            self.state = "nan"
            self.detail = f"the {quantity} became {value} in epoch {len(self.curve)}"
