"""Metrics: one number for how good a model's outputs are on a whole split.

A metric is the figure of the whole split (never an average over batches' figures) and, for a
regression, in the units of the target column. The built-in ones stand in `METRICS`, how they are
computed in the room `measures`. A user's own is a function `(output, target) -> float`, whose
direction is its attribute `direction` or the spec's key, or a `Metric` of torchmetrics.

Of data that come in batches, `metric.start()` gives an accumulator:

    accumulator = metric.start()
    accumulator.update(output, targets)    # of each batch
    accumulator.result()                   # a float

Entry points: `METRICS`, `load_metric`, `load_reported`, `imbalance_note` where accuracy misleads.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal, cast, final

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import IGNORED_CLASS, Data, Task
from ..errors import MetricError, describe_error, describe_shape, describe_value, look_up
from ..user_code import load_object, user_errors
from .losses import model_loss
from .measures import classes, confusion, quantities
from .measures.accumulate import Accumulator, Measure, WholeMeasure
from .measures.mean_loss import mean_loss
from .measures.torchmetrics_metric import (
    is_torchmetrics,
    torchmetrics_direction,
    torchmetrics_measure,
)

Direction = Literal["maximize", "minimize"]
DIRECTIONS = ("maximize", "minimize")


IMBALANCED_SHARE = 0.8
"""Share of the rows in one class from which on accuracy looks good by itself."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A named number with the direction in which it is better.

    Attributes:
        name: Built-in name or reference.
        direction: "maximize" or "minimize".
        function: `(output, target) -> number` over all rows of a split; a `Measure` also knows how
            to put it together from batches, of any other function all outputs are kept.
        task: The task it fits; None for a user's own, which may fit either.
    """

    name: str
    direction: Direction
    function: Measure | Callable[[Any, Any], Any]
    task: Task | None = None

    def __call__(self, output: Any, target: Any) -> float:
        """Return the metric as a number, which may be NaN.

        Raises:
            MetricError: The function raised, or returned something other than one number.
        """
        with self._errors(output, target):
            value = self.function(output, target)
        return self._number(value)

    def start(self) -> "MetricAccumulator":
        """Return an accumulator for the batches of a split."""
        measure = self.function
        if not hasattr(measure, "start"):
            measure = WholeMeasure(function=measure)
        with self._errors(None, None):
            return MetricAccumulator(self, measure.start())

    @property
    def key(self) -> str:
        """The name under which its figure is recorded: of a reference, the function's."""
        return self.name.rpartition(":")[2].partition("@")[0]

    @property
    def keeps_outputs(self) -> bool:
        """Whether an accumulator keeps all outputs of a split, as its function needs them."""
        return isinstance(self.function, WholeMeasure) or not hasattr(self.function, "start")

    @contextmanager
    def _errors(self, output: Any, target: Any) -> Iterator[None]:
        """Let whatever is raised inside become an error that names the metric."""
        if output is None and target is None:
            seen = ""
        else:
            seen = f" (output {describe_shape(output)}, target {describe_shape(target)})"
        with user_errors(
            lambda error: MetricError(
                f"metric {self.name} raised {describe_error(error)}{seen}: mend it, or choose "
                "another."
            ),
            keep_out_of_memory=True,
        ):
            try:
                yield
            except MetricError as error:
                raise MetricError(f"metric {self.name}: {error}") from error

    def _number(self, value: Any) -> float:
        if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, Real):
            raise MetricError(
                f"metric {self.name} returned {describe_value(value)}: it must return one number."
            )
        try:
            return float(value)
        except Exception as error:  # a whole number may be too large, a class of one's own anything
            raise MetricError(
                f"metric {self.name} returned {describe_value(value)}, which is no number of "
                "double precision (at most 1.8e308): let it return such a number, or its logarithm."
            ) from error

    def better(self, value: float, than: float | None) -> bool:
        """Return whether a value improves on another (None: anything does)."""
        if than is None:
            return True
        return value > than if self.direction == "maximize" else value < than


@final
class MetricAccumulator:
    """A metric in the making, from the batches of a split."""

    def __init__(self, metric: Metric, accumulator: Accumulator) -> None:
        self._metric, self._accumulator = metric, accumulator

    def update(self, output: Any, targets: Any) -> None:
        """Take in a batch.

        Args:
            output: Of the model, on any device.
            targets: Of the batch; what the loader gave, where there are none.

        Raises:
            MetricError: The metric cannot judge it.
        """
        with self._metric._errors(output, targets):
            self._accumulator.update(output, targets)

    def result(self) -> float:
        """Return the metric over all batches, which may be NaN.

        Raises:
            MetricError: The metric raised, or gave something other than one number.
        """
        with self._metric._errors(None, None):
            value = self._accumulator.result()
        return self._metric._number(value)


def load_metric(name: str, base: Path, direction: str | None = None) -> Metric:
    """Return a built-in metric by name, or a user's by reference.

    Args:
        name: One of `METRICS`, or `FILE.py:name` or `package.module:name`.
        base: The folder of the spec.
        direction: "maximize" or "minimize"; for a user's metric without the attribute `direction`.

    Raises:
        MetricError: No such metric, or no (or a wrong) direction.
        ImportFailure: The reference leads nowhere.
    """
    if direction is not None and direction not in DIRECTIONS:
        raise MetricError(
            f"the direction '{direction}' is unknown: write 'maximize' or 'minimize'."
        )
    if ":" in name:
        return _user_metric(name, load_object(name, base), direction)
    metric = look_up(
        "metric",
        name,
        METRICS,
        choices=f"one of {', '.join(METRICS)}, or name a function as FILE.py:name",
        error=MetricError,
    )
    if direction is not None and direction != metric.direction:
        raise MetricError(
            f"metric '{name}' is to {metric.direction}, not to {direction}: drop the direction."
        )
    return metric


def load_reported(names: Sequence[str], base: Path) -> tuple[Metric, ...]:
    """Return the metrics that are recorded beside the one that is searched.

    Args:
        names: Each a name of `METRICS` or a reference; which direction is better plays no part.
        base: The folder of the spec.

    Raises:
        MetricError: No such metric, or two of one name.
        ImportFailure: A reference leads nowhere.
    """
    metrics: dict[str, Metric] = {}
    for name in names:
        if ":" in name:
            metric = _user_metric(name, load_object(name, base), None, needs_direction=False)
        else:
            metric = load_metric(name, base)
        if metric.key in metrics:
            raise MetricError(
                f"'{metrics[metric.key].name}' and '{name}' would both be recorded as "
                f"'{metric.key}': give one of them another name, or take it out."
            )
        metrics[metric.key] = metric
    return tuple(metrics.values())


def imbalance_note(metric: Metric, data: Data) -> str | None:
    """Return a sentence where always naming one class has a good accuracy; None elsewhere."""
    if metric.name != "accuracy" or not data.classes:
        return None
    splits = [
        data.class_numbers(split.targets) for split in (data.train, data.validation, data.test)
    ]
    if any(numbers.ndim != 1 for numbers in splits):
        return None
    numbers = torch.cat(splits).cpu()
    counts = torch.bincount(numbers[numbers != IGNORED_CLASS], minlength=len(data.classes))
    share = float(counts.max() / counts.sum())
    if share < IMBALANCED_SHARE:
        return None
    return (
        f"{share:.1%} of the rows are of class '{data.classes[int(counts.argmax())]}': always "
        f"naming it has an accuracy of {share:.3f} by itself; metric balanced_accuracy (or f1) "
        "counts every class alike"
    )


def _user_metric(
    name: str, function: Callable[..., Any], direction: str | None, *, needs_direction: bool = True
) -> Metric:
    measure: Measure = WholeMeasure(function=function)
    stated = getattr(function, "direction", None)
    if is_torchmetrics(function):
        measure, stated = torchmetrics_measure(name, function), torchmetrics_direction(function)
    resolved = direction if direction is not None else stated
    if not needs_direction and resolved not in DIRECTIONS:
        resolved = "maximize"
    if resolved not in DIRECTIONS:
        finding = "does not say" if resolved is None else f"says '{resolved}' for"
        raise MetricError(
            f"metric {name} {finding} which direction is better: give it the attribute "
            "`direction`, 'maximize' or 'minimize'."
        )
    return Metric(name=name, direction=cast(Direction, resolved), function=measure)


def _named(
    task: Task, direction: Direction, measures: Mapping[str, Measure]
) -> Iterator[tuple[str, Metric]]:
    for name, measure in measures.items():
        yield name, Metric(name=name, direction=direction, function=measure, task=task)


METRICS: dict[str, Metric] = {
    **dict(
        _named(
            Task.CLASSIFICATION,
            "maximize",
            {
                "accuracy": classes.ACCURACY,
                "balanced_accuracy": classes.BALANCED_ACCURACY,
                "f1": classes.F1,
                "f1_macro": classes.F1,
                "f1_micro": confusion.F1_MICRO,
                "f1_weighted": confusion.F1_WEIGHTED,
                "precision": confusion.PRECISION,
                "recall": confusion.RECALL,
                "top5_accuracy": classes.TOP5_ACCURACY,
                "mcc": confusion.MCC,
                "kappa": confusion.KAPPA,
                "iou": confusion.IOU,
                "dice": confusion.DICE,
                "auroc": confusion.AUROC,
                "average_precision": confusion.AVERAGE_PRECISION,
            },
        )
    ),
    **dict(
        _named(
            Task.CLASSIFICATION,
            "minimize",
            {
                "cross_entropy": classes.CROSS_ENTROPY,
                "perplexity": classes.PERPLEXITY,
                "hamming": confusion.HAMMING,
            },
        )
    ),
    **dict(
        _named(
            Task.REGRESSION,
            "maximize",
            {
                "r2": quantities.R2,
                "explained_variance": quantities.EXPLAINED_VARIANCE,
                "pearson": quantities.PEARSON,
                "spearman": quantities.SPEARMAN,
            },
        )
    ),
    **dict(
        _named(
            Task.REGRESSION,
            "minimize",
            {
                "mse": quantities.MSE,
                "rmse": quantities.RMSE,
                "mae": quantities.MAE,
                "mape": quantities.MAPE,
            },
        )
    ),
    "loss": Metric(name="loss", direction="minimize", function=mean_loss(model_loss)),
}
"""By name; `loss` is the validation loss itself, whatever that is (see `metric_binding`)."""
