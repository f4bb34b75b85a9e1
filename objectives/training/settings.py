"""The proxy: the short training that stands for the long one, as asked for and as it came out.

Entry points: `ProxySettings`, `Halving`, `TrainingResult`.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from ..data.batches import DataLocation
from .evaluate import EVAL_BATCH_SIZE

TrainingOutcome = Literal["complete", "pruned", "nan", "out_of_memory"]


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
        epochs: Most passes over the training split.
        batch_size: Rows in a step; the last step of an epoch may have fewer.
        patience: Epochs without a better validation metric before stopping; 0 never stops.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decoupled decay.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        data_on: Where the data lies: "device", "host", or "auto", see `feed.placed`.
        eval_batch: Rows in a batch of evaluation.
        precision: "float32" (the model's own type), or "bfloat16": autocast of forward passes.
        accumulate: Parts that a whole batch passes through in, their gradients summed: for memory.
        replicas: Trainings of a candidate from other seeds; its value is their mean.
        folds: Parts of the training and validation rows that take turns in validating; 1 keeps the
            one validation split.
        rate_factors: Learning rates that a candidate is tried with, as factors; the best counts.
        halving: When candidates that fall behind are stopped; None trains all to the end.
    """

    epochs: int = 20
    batch_size: int = 64
    patience: int = 3
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    device: str = "auto"
    data_on: DataLocation = "auto"
    eval_batch: int = EVAL_BATCH_SIZE
    precision: Literal["float32", "bfloat16"] = "float32"
    accumulate: int = 1
    replicas: int = 1
    folds: int = 1
    rate_factors: tuple[float, ...] = (1.0,)
    halving: Halving | None = None

    @property
    def autocast(self) -> torch.dtype | None:
        """The type that forward passes are computed in; None for the model's own."""
        return torch.bfloat16 if self.precision == "bfloat16" else None

    def accumulation_steps(self, rows: int) -> int:
        """Return in how many parts so many rows pass through.

        None is larger than a part of a whole batch. A shorter last batch has fewer parts, not
        smaller ones: BatchNorm cannot train on a row that is alone.
        """
        max_rows = math.ceil(self.batch_size / self.accumulate)
        return math.ceil(rows / max_rows)

    @property
    def rungs(self) -> tuple[float, ...]:
        """Epochs after which candidates are compared."""
        return () if self.halving is None else self.halving.rungs(self.epochs)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What came of training one candidate.

    Attributes:
        outcome: "complete"; "pruned" (it fell behind); "nan" (loss or metric no longer finite); or
            "out_of_memory".
        value: Best validation metric, the mean over replicas and folds; None unless complete.
        score: Best validation metric so far, of a pruned candidate too; None for the others.
        fidelity: Epochs that the score is worth: those asked for, or those up to its last rung.
        rung_scores: (epochs, score) at each rung that it came to.
        test_value: Test metric with the weights of the best epoch; None unless complete, or when
            there is no test split or no finite figure.
        best_epoch: Index in `curve` of that epoch; None unless complete.
        epochs: Epochs run through, with their metric.
        curve: Validation metric after each epoch; of several trainings, the mean, those that
            stopped earlier standing with their last.
        losses: Mean training loss of each epoch, likewise.
        spread: Standard error of the value over replicas and folds; None for one training.
        learning_rate: The rate that counted.
        engine: What trained it.
        seconds: Wall-clock time, the candidate's share of what was trained together, in earlier
            processes too.
        device: Where it ran.
        parameters: Numbers in the model's parameters; 0 if it could not be built.
        peak_memory: On a GPU, bytes that its allocator held at most in a training pass, less the
            data set that lies there: what the predicted figure is to be compared with. None on a
            CPU, where the prediction is exact, and in a stack.
        detail: A sentence on what went wrong, or why it was stopped; None when complete.
    """

    outcome: TrainingOutcome
    value: float | None
    score: float | None
    fidelity: float
    rung_scores: tuple[tuple[float, float], ...] = field(default=())
    test_value: float | None
    best_epoch: int | None
    epochs: int
    curve: tuple[float, ...]
    losses: tuple[float, ...]
    spread: float | None
    learning_rate: float
    engine: str
    seconds: float
    device: str
    parameters: int
    peak_memory: int | None
    detail: str | None
