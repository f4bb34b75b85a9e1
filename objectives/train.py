"""Training one candidate for a short while: the proxy that a trial's value comes from.

AdamW on mini-batches that lie on the device already; the validation metric after every epoch;
early stopping; the best epoch's weights judged once on the test split. The same seed gives the
same result, bit for bit on a CPU, whatever ran before; the caller's random streams are untouched.
This is the plain engine that faster ones are compared with.

Entry point: `train`, with `ProxySettings` in and `TrainingResult` out.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .data import Split
from .errors import ModelError, reason
from .evaluate import predict, score
from .objective import Objective
from .out_of_memory import is_out_of_memory
from .proxy import Outcome, ProxySettings, TrainingResult
from .randomness import Randomness
from .step import training_step

__all__ = ["ProxySettings", "TrainingResult", "make_optimizer", "resolve_device", "train"]


def train(
    objective: Objective,
    widths: Mapping[str, int],
    settings: ProxySettings,
    *,
    seed: int,
    on_epoch: Callable[[int, float], None] | None = None,
) -> TrainingResult:
    """Train a candidate and judge it.

    Args:
        objective: Model, data, loss and metric.
        widths: The candidate.
        settings: How to train.
        seed: Decides initial weights, order of the batches and dropout; 0 to 2**63 - 1.
        on_epoch: Called with epoch index and validation metric after each epoch; what it raises
            ends the training and propagates untouched.

    Raises:
        ModelError: The builder raised or gave no module, or `device` is not there.
        MetricError: The metric gave no number.
    """
    started = time.perf_counter()
    device = resolve_device(settings.device)
    run = _Run(objective, widths, settings, seed, device)
    outcome: Outcome = "complete"
    detail = None
    test_value = None
    try:
        with run.stage():
            run.start()
        while run.wants_another_epoch():
            with run.stage():
                run.epoch()
            if on_epoch is not None:
                on_epoch(len(run.curve) - 1, run.curve[-1])
        with run.stage():
            test_value = run.test()
    except _NotFiniteError as stop:
        outcome, detail = "nan", str(stop)
    except _OutOfMemoryError as stop:
        outcome, detail = "out_of_memory", str(stop)
    complete = outcome == "complete"
    return TrainingResult(
        outcome=outcome,
        value=run.best if complete else None,
        test_value=test_value,
        best_epoch=run.best_epoch if complete else None,
        epochs=len(run.curve),
        curve=tuple(run.curve),
        losses=tuple(run.losses),
        seconds=time.perf_counter() - started,
        device=str(device),
        parameters=run.parameters,
        peak_memory=run.peak_memory,
        detail=detail,
    )


def resolve_device(name: str) -> torch.device:
    """Return the device for "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        ModelError: It is not known, or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ModelError(f"there is no device '{name}': write auto, cpu or cuda.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device '{name}' is not there (CUDA devices found: {torch.cuda.device_count()}): "
            "write auto or cpu."
        )
    return torch.device(name)


def make_optimizer(model: nn.Module, settings: ProxySettings) -> torch.optim.Optimizer:
    """Return AdamW over the model's trainable parameters, fused where that is safe.

    The cost counter traces the very same.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ModelError("the model has no parameter to train: give it at least one.")
    # The fused kernel pairs raw memory: anything but plain contiguous numbers takes the long way.
    fused = all(p.is_floating_point() and p.is_contiguous() for p in parameters)
    return torch.optim.AdamW(
        parameters,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=fused or None,
    )


class _Run:
    """The moving parts of one training."""

    def __init__(
        self,
        objective: Objective,
        widths: Mapping[str, int],
        settings: ProxySettings,
        seed: int,
        device: torch.device,
    ) -> None:
        self.objective, self.widths, self.settings = objective, widths, settings
        self.device = device
        self.randomness = Randomness(seed, device)
        # A stream of its own: every candidate of a seed sees the rows in the same order.
        order_seed = int(np.random.SeedSequence([seed, 1]).generate_state(1, np.uint32)[0])
        self.order = torch.Generator().manual_seed(order_seed)
        self.curve: list[float] = []
        self.losses: list[float] = []
        self.best: float | None = None
        self.best_epoch = 0
        self.best_state: dict[str, Any] = {}
        self.parameters = 0
        self.peak_memory: int | None = None

    @contextmanager
    def stage(self) -> Iterator[None]:
        """Run a part of the training: seeded, and with memory errors told from all others."""
        try:
            with self.randomness:
                yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            where = f"in epoch {len(self.curve)}" if self.parameters else "while it was built"
            raise _OutOfMemoryError(f"memory ran out {where}: {reason(error):.200}") from None

    def start(self) -> None:
        self.model = self.objective.build(self.widths).to(self.device)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.optimizer = make_optimizer(self.model, self.settings)
        self.training = self.objective.data.train.to(self.device)
        self.validation = self.objective.data.validation.to(self.device)

    def wants_another_epoch(self) -> bool:
        done = len(self.curve)
        waited = done - 1 - self.best_epoch
        patient = self.settings.patience == 0 or waited < self.settings.patience
        return done < self.settings.epochs and (done == 0 or patient)

    def epoch(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.losses.append(self.one_pass())
        if self.device.type == "cuda":
            found = torch.cuda.max_memory_allocated(self.device) - self.resident_bytes()
            self.peak_memory = max(found, self.peak_memory or 0)
        self.require_finite(self.losses[-1], "training loss")
        value = self.judge(self.validation)
        self.require_finite(value, f"validation {self.objective.metric.name}")
        self.curve.append(value)
        if self.objective.metric.better(value, self.best):
            self.best, self.best_epoch = value, len(self.curve) - 1
            self.best_state = _copy(self.model.state_dict())

    def one_pass(self) -> float:
        """Train on every row once; return the mean loss."""
        self.model.train()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        rows = self.batches()
        for batch in rows:
            inputs = self.training.inputs.index_select(0, batch)
            targets = self.training.targets.index_select(0, batch)
            # The very step whose memory is predicted.
            loss = training_step(
                self.model, self.optimizer, self.objective.loss, (inputs,), targets
            )
            total += loss * len(batch)
        return float(total) / sum(map(len, rows))

    def resident_bytes(self) -> int:
        """Count the data that lies on the device as a whole."""
        held = (self.training, self.validation)
        return sum(part.nbytes for split in held for part in (split.inputs, split.targets))

    def batches(self) -> tuple[Tensor, ...]:
        order = torch.randperm(len(self.training), generator=self.order).to(self.device)
        size = self.settings.batch_size
        if size > 1 and len(order) > size and len(order) % size == 1:
            # BatchNorm cannot train on a lone row; another shuffle brings it back.
            order = order[:-1]
        return torch.split(order, size)

    def judge(self, split: Split) -> float:
        output = predict(self.model, split.inputs, self.settings.eval_batch)
        return score(self.objective, output, split.targets)

    def test(self) -> float | None:
        self.model.load_state_dict(self.best_state)
        test = self.objective.data.test
        if not len(test):
            return None
        value = self.judge(test.to(self.device))
        return value if math.isfinite(value) else None

    def require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise _NotFiniteError(f"the {what} became {value} in epoch {len(self.losses) - 1}")


class _NotFiniteError(Exception):
    """A loss or metric is no longer a number to go by."""


class _OutOfMemoryError(Exception):
    """Memory ran out in a stage of the training."""


def _copy(state: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a state to the CPU, so that the device's peak stays that of a training step."""
    return {
        name: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else deepcopy(value)
        for name, value in state.items()
    }
