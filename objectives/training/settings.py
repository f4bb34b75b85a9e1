"""The proxy: how the short training that stands for the long one is done.

Entry points: `ProxySettings`, `Halving`, `resolve_device`.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

import torch

from ..data.batches import DataLocation
from ..errors import ModelError
from .evaluate import EVAL_BATCH_SIZE
from .optimizer import Schedule


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Successive halving: candidates that fall behind are stopped early.

    At each rung the best 1/eta of all that came so far go on (Jamieson & Talwalkar, "Non-stochastic
    best arm identification and hyperparameter optimization", 2016; against the rungs of earlier
    trials as well: Li et al., "A system for massively parallel hyperparameter tuning", 2020).

    Attributes:
        eta: One in so many goes on; at least 2.
        first: Epochs before the first rung, at least 0.001; below 1 it is a share of the training
            rows.
    """

    eta: int = 3
    first: float = 1.0

    def rungs(self, epochs: int) -> tuple[float, ...]:
        """Return the epochs after which candidates are compared, all below `epochs`."""
        rounded: list[float] = []
        next_rung = self.first
        while round(next_rung, 6) < epochs:
            rounded.append(round(next_rung, 6) if next_rung < 1 else float(round(next_rung)))
            next_rung *= self.eta
        return tuple(dict.fromkeys(rung for rung in rounded if rung < epochs))


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """How a candidate is trained.

    Attributes:
        epochs: Passes over the training split, at most.
        batch_size: Rows in a step; the last step of an epoch may have fewer.
        patience: Epochs without a better smoothed validation loss before stopping; 0 never stops.
        min_epochs: Epochs before which no training stops.
        validate_every: Epochs between validations; the last epoch is always validated.
        smoothing: Validations whose mean loss is judged, the present one included.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decoupled decay.
        schedule: How the learning rate goes over the steps of `epochs`.
        input_noise: Standard deviation of the noise on training inputs, in their own; 0 for none.
        train_share: Share of the training rows that are trained on; above 0, at most 1.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        data_on: Where the data lies: "device", "host", or "auto", see `batches.place_data`.
        eval_batch: Rows in a batch of evaluation.
        precision: "float32" (the model's own type), or "bfloat16": autocast of forward passes.
        accumulate: Parts that a whole batch is divided into, whose gradients are summed, to save
            memory.
        replicas: Trainings of a candidate from different seeds; its value is their mean.
        folds: Folds of cross-validation over the training and validation rows; 1 keeps the
            validation split.
        repeats: Times that the rows are dealt out into folds, by another draw and with another
            seed each time; 1 where there is one fold.
        rate_factors: Learning rates that a candidate is tried with, as factors; the best counts.
        halving: When candidates that fall behind are stopped; None trains all to the end.
        judge_test: Whether the best weights are judged on the test split, too: a search never asks
            it, so that it tells the truth of what was chosen.
        final: Whether it is a final training, whose weights are kept. Rows in arrays are trained on
            whether they are for training or for validation, so that the last weights count; of data
            in batches it is the training split, and the weights of the best epoch count.
    """

    epochs: int = 20
    batch_size: int = 64
    patience: int = 3
    min_epochs: int = 0
    validate_every: int = 1
    smoothing: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    input_noise: float = 0.0
    train_share: float = 1.0
    device: str = "auto"
    data_on: DataLocation = DataLocation.AUTO
    eval_batch: int = EVAL_BATCH_SIZE
    precision: Literal["float32", "bfloat16"] = "float32"
    accumulate: int = 1
    replicas: int = 1
    folds: int = 1
    repeats: int = 1
    rate_factors: tuple[float, ...] = (1.0,)
    halving: Halving | None = None
    judge_test: bool = False
    final: bool = False

    @property
    def splits(self) -> int:
        """Divisions into training and validation rows that a candidate is trained on."""
        return self.folds * self.repeats

    @property
    def trainings(self) -> int:
        """Trainings of a candidate, all replicas and learning rates together."""
        return self.splits * self.replicas * len(self.rate_factors)

    @property
    def autocast(self) -> torch.dtype | None:
        """The type that forward passes are computed in; None for the model's own."""
        return torch.bfloat16 if self.precision == "bfloat16" else None

    def accumulation_steps(self, rows: int) -> int:
        """Return how many parts a batch of so many rows is divided into.

        No part is larger than those of a whole batch. A shorter last batch has fewer parts, not
        smaller ones: BatchNorm cannot train on a single row.
        """
        max_rows = math.ceil(self.batch_size / self.accumulate)
        return math.ceil(rows / max_rows)

    @property
    def rungs(self) -> tuple[float, ...]:
        """Epochs after which candidates are compared; whole ones are epochs that are validated."""
        if self.halving is None:
            return ()
        every = self.validate_every
        validated = (
            rung if rung < 1 else float(math.ceil(rung / every) * every)
            for rung in self.halving.rungs(self.epochs)
        )
        return tuple(dict.fromkeys(rung for rung in validated if rung < self.epochs))


def resolve_device(name: str) -> torch.device:
    """Return the device for "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ModelError: It is not known, or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    match = re.fullmatch(r"(cpu|cuda|mps)(?::([0-9]{1,3}))?", name)
    if match is None:
        raise ModelError(f"there is no device '{name}': write auto, cpu, cuda, cuda:1 or mps.")
    kind, index = match[1], int(match[2] or 0)
    is_there = {
        "cpu": True,
        "cuda": index < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not is_there[kind]:
        raise ModelError(
            f"device '{name}' is not there; this machine has {', '.join(_available_devices())}: "
            "write auto, or one of these."
        )
    return torch.device(name)


def _available_devices() -> list[str]:
    """Return the devices of this machine, GPUs with their model."""
    gpus = [
        f"cuda:{index} ({torch.cuda.get_device_name(index)})"
        for index in range(torch.cuda.device_count())
    ]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
