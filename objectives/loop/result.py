"""What came of training one candidate.

Entry points: `TrainingResult`, `TrainingOutcome`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class TrainingOutcome(StrEnum):
    """How the training of a candidate ended; the words are stored."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    NAN = "nan"
    OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What came of training one candidate.

    Attributes:
        outcome: Complete; pruned (it fell behind); nan (loss or metric no longer finite); or out of
            memory.
        value: Validation metric of the best weights, those with the lowest smoothed validation
            loss; the mean over replicas and folds; None unless complete.
        score: The same so far, of a pruned candidate too; None for the others.
        fidelity: Epochs that the score is worth: those asked for, or those up to its last rung.
        rung_scores: (epochs, score) at each rung that it came to.
        test_value: Test metric with the weights of the best epoch; None unless complete, asked for,
            and with a test split that gives a finite figure.
        train_value: Likewise on rows that were trained on, as many as validate; None unless
            complete and finite.
        best_epoch: Index in `curve` of that epoch; None unless complete.
        epochs: Epochs run through, up to the last that was validated.
        curve: Validation metric after each validated epoch; of several trainings, the mean, those
            that stopped earlier standing with their last.
        steps: The step of each point of the curve, of a training of the user's own; empty where
            they are epochs.
        losses: Mean training loss of each of these epochs, likewise.
        validation_losses: Mean validation loss after each of them, likewise.
        spread: Standard error of the value over replicas and folds; None for one training.
        scores: The value on each division into training and validation rows, fold after fold, the
            mean over replicas; empty unless complete.
        learning_rate: The rate that counted; None where the training is the user's own.
        engine: What trained it.
        seconds: Wall-clock time, the candidate's share of what was trained together, in earlier
            processes too.
        device: Where it ran.
        parameters: Numbers in the model's parameters; 0 if it could not be built.
        peak_memory: On a GPU, bytes that its allocator held at most in a training pass, less the
            data set that lies there: what the predicted figure is to be compared with. None on a
            CPU, where the prediction is exact, and in a stack.
        detail: A sentence on what went wrong, or why it was stopped; None when complete.
        reported: Further figures that were recorded beside the metric, by name; all are finite.
        weights: The network's `state_dict`, on the CPU; None unless it is a final training that is
            complete.
    """

    outcome: TrainingOutcome
    value: float | None
    score: float | None
    fidelity: float
    rung_scores: tuple[tuple[float, float], ...] = field(default=())
    test_value: float | None
    train_value: float | None = None
    best_epoch: int | None
    epochs: int
    curve: tuple[float, ...]
    steps: tuple[float, ...] = ()
    losses: tuple[float, ...]
    validation_losses: tuple[float, ...]
    spread: float | None
    scores: tuple[float, ...] = ()
    learning_rate: float | None
    engine: str
    seconds: float
    device: str
    parameters: int
    peak_memory: int | None
    detail: str | None
    reported: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Any] | None = field(default=None, repr=False)

    def final_figures(self, metric: str) -> dict[str, float]:
        """Return what came out as numbers by name, those that are known.

        Args:
            metric: What the metric is called.
        """
        figures = {
            metric: self.score,
            f"test_{metric}": self.test_value,
            f"train_{metric}": self.train_value,
            "spread": self.spread,
            "epochs": float(self.epochs),
            "seconds": self.seconds,
            "learning_rate": self.learning_rate,
            **self.reported,
        }
        return {name: value for name, value in figures.items() if value is not None}
