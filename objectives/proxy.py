"""The proxy: the short training that stands for the long one, as asked for and as it came out.

Entry points: `ProxySettings`, `TrainingResult`.
"""

from dataclasses import dataclass
from typing import Literal

from .evaluate import EVAL_BATCH

Outcome = Literal["complete", "nan", "out_of_memory"]


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
        eval_batch: Rows in a batch of evaluation.
    """

    epochs: int = 20
    batch_size: int = 64
    patience: int = 3
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    device: str = "auto"
    eval_batch: int = EVAL_BATCH


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What came of training one candidate.

    Attributes:
        outcome: "complete"; "nan" (loss or metric no longer finite); or "out_of_memory".
        value: Best validation metric; None unless complete.
        test_value: Test metric with the weights of that epoch; None unless complete, or when there
            is no test split or no finite figure.
        best_epoch: Index in `curve` of that epoch; None unless complete.
        epochs: Epochs run through, with their metric.
        curve: Validation metric after each epoch.
        losses: Mean training loss of each epoch.
        seconds: Wall-clock time of it all.
        device: Where it ran.
        parameters: Numbers in the model's parameters; 0 if it could not be built.
        peak_memory: On a GPU, bytes that its allocator held at most in a training pass, less the
            data set that lies there: what the predicted figure is to be compared with. None on a
            CPU, where the prediction is exact.
        detail: A sentence on what went wrong; None when complete.
    """

    outcome: Outcome
    value: float | None
    test_value: float | None
    best_epoch: int | None
    epochs: int
    curve: tuple[float, ...]
    losses: tuple[float, ...]
    seconds: float
    device: str
    parameters: int
    peak_memory: int | None
    detail: str | None
