"""Metrics: one number for how good a model's outputs are on a whole split.

A metric sees all outputs of the split at once (never an average over batches) and, for a
regression, in the units of the target column. Built in, for classes: accuracy, balanced_accuracy,
f1 (macro), cross_entropy; for quantities: r2, mse, rmse, mae. A user's own is a function
`(output, target) -> float`, whose direction is its attribute `direction` or the spec's key.

The built-in ones give scikit-learn's values (a test compares them), but are computed by torch: they
run once an epoch for each candidate, and a call takes 0.01 to 0.1 ms here where scikit-learn's
takes 0.2 to 2 ms (360 rows, 10 classes) and needs a GPU's outputs on the host.

Entry points: `METRICS`, `load_metric`, `default_metric`; `imbalance_note` where accuracy misleads.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import IGNORED_CLASS, Data, Task
from ..errors import MetricError, describe_error, describe_shape, describe_value, look_up
from ..user_code import load_object, user_errors
from .losses import cross_entropy as cross_entropy_loss
from .losses import has_single_logits

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
        function: `(output, target) -> number` over all rows of a split.
        task: The task it fits; None for a user's own, which may fit either.
    """

    name: str
    direction: Direction
    function: Callable[[Any, Tensor], Any]
    task: Task | None = None

    def __call__(self, output: Any, target: Tensor) -> float:
        """Return the metric as a number, which may be NaN.

        Raises:
            MetricError: The function raised, or returned something other than one number.
        """
        with user_errors(
            lambda error: MetricError(
                f"metric {self.name} raised {describe_error(error)} (output "
                f"{describe_shape(output)}, target {describe_shape(target)}): mend it, or choose "
                "another."
            ),
            keep_out_of_memory=True,
        ):
            value = self.function(output, target)
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


def default_metric(task: Task) -> Metric:
    """Return accuracy for classes, r2 for quantities."""
    return METRICS["accuracy" if task == Task.CLASSIFICATION else "r2"]


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


def _user_metric(name: str, function: Callable[..., Any], direction: str | None) -> Metric:
    resolved = direction if direction is not None else getattr(function, "direction", None)
    if resolved not in DIRECTIONS:
        finding = "does not say" if resolved is None else f"says '{resolved}' for"
        raise MetricError(
            f"metric {name} {finding} which direction is better: give it the attribute "
            "`direction`, 'maximize' or 'minimize'."
        )

    def call_on_cpu(output: Any, target: Tensor) -> Any:
        return function(to_cpu(output), target.cpu())

    return Metric(name=name, direction=cast(Direction, resolved), function=call_on_cpu)


def to_cpu(output: Any) -> Any:
    """Move a tensor, or the tensors in a tuple, list or mapping, to the CPU."""
    if isinstance(output, Tensor):
        return output.cpu()
    if isinstance(output, dict):
        return {key: to_cpu(value) for key, value in output.items()}
    if isinstance(output, tuple | list):
        return type(output)(to_cpu(value) for value in output)
    return output


def predicted_classes(output: Tensor, target: Tensor) -> Tensor:
    """Return the predicted class for each target, in its shape.

    It is the largest logit on axis 1, or the sign of a single logit.
    """
    if has_single_logits(output, target):
        return (output.reshape(target.shape) > 0).long()
    classes = output.argmax(dim=1)
    if classes.shape != target.shape:  # broadcasting would give a number, and a wrong one
        raise MetricError(
            f"the model's outputs have the shape {describe_shape(output)}, the targets "
            f"{describe_shape(target)}: give the classes on axis 1, or a logit for each target."
        )
    return classes


def accuracy(output: Tensor, target: Tensor) -> float:
    """Return the share of targets whose class is predicted: of rows, positions or labels."""
    predictions, actual = _counted(predicted_classes(output, target), target)
    return float((predictions == actual).double().mean())


def balanced_accuracy(output: Tensor, target: Tensor) -> float:
    """Return the mean over the classes in the target of the share of theirs that is predicted.

    Of several labels a row, each is judged by itself, and the mean is taken over them.
    """
    predictions = predicted_classes(output, target)
    if has_single_logits(output, target) and target.ndim == 2:
        counted = (target != IGNORED_CLASS).T
        columns = zip(predictions.T, target.T, counted, strict=True)
        scores = [
            _balanced_accuracy(said[told], actual[told])
            for said, actual, told in columns
            if told.any()
        ]
        return sum(scores) / max(len(scores), 1)
    return _balanced_accuracy(predictions, target)


def f1(output: Tensor, target: Tensor) -> float:
    """Return the mean over the classes of 2 hits / (targets of it + predictions of it).

    Of several labels a row, it is the mean over the labels, "yes" being what is looked for.
    """
    predictions = predicted_classes(output, target)
    if has_single_logits(output, target) and target.ndim == 2:
        is_yes, said_yes = target == 1, (predictions == 1) & (target != IGNORED_CLASS)
        hits = (is_yes & said_yes).sum(dim=0).double()
        actual_and_predicted = is_yes.sum(dim=0).double() + said_yes.sum(dim=0)
        return float((2 * hits / actual_and_predicted.clamp_min(1)).mean())
    hits, actual, predicted = _class_counts(predictions, target)
    occurring = (actual + predicted) > 0
    return float((2 * hits[occurring] / (actual + predicted)[occurring]).mean())


def cross_entropy(output: Tensor, target: Tensor) -> float:
    """Return the mean negative log-likelihood of the target classes, in nats."""
    if has_single_logits(output, target):
        output, target = _counted(output.reshape(target.shape), target)
    return float(cross_entropy_loss(output.double(), target))


def r2(output: Tensor, target: Tensor) -> float:
    """Return 1 - squared error / squared deviation from the mean, averaged over the columns."""
    error = _errors(output, target).square().sum(dim=0)
    deviation = (target.double() - target.double().mean(dim=0)).square().sum(dim=0)
    # A target without spread explains nothing: 1 if it is met exactly, else 0.
    constant_target = torch.where(error == 0, 1.0, 0.0).double()
    return float(
        torch.where(deviation > 0, 1 - error / deviation.clamp_min(1e-300), constant_target).mean()
    )


def mse(output: Tensor, target: Tensor) -> float:
    """Return the mean squared error, in squared target units."""
    return float(_errors(output, target).square().mean())


def rmse(output: Tensor, target: Tensor) -> float:
    """Return the root of the mean squared error, in target units."""
    return float(mse(output, target) ** 0.5)


def mae(output: Tensor, target: Tensor) -> float:
    """Return the mean absolute error, in target units."""
    return float(_errors(output, target).abs().mean())


def _errors(output: Tensor, target: Tensor) -> Tensor:
    if output.shape != target.shape:  # broadcasting would give a number, and a wrong one
        raise MetricError(
            f"the model's outputs have the shape {describe_shape(output)}, the targets "
            f"{describe_shape(target)}: end the model in one output for each target column."
        )
    return output.double() - target


def _balanced_accuracy(predictions: Tensor, target: Tensor) -> float:
    hits, actual, _ = _class_counts(predictions, target)
    present = actual > 0
    return float((hits[present] / actual[present]).mean())


def _counted(predictions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predictions and targets that count, flat: not those of the ignored class."""
    if target.ndim == 1:  # only positions are left out
        return predictions, target
    counted = target != IGNORED_CLASS
    return predictions[counted], target[counted]


def _class_counts(predictions: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return per class, in float64: targets predicted rightly, targets, predictions."""
    predictions, target = _counted(predictions, target)
    classes = int(torch.maximum(predictions.max(), target.max())) + 1
    return (
        torch.bincount(target[predictions == target], minlength=classes).double(),
        torch.bincount(target, minlength=classes).double(),
        torch.bincount(predictions, minlength=classes).double(),
    )


_ACCURACY = Metric(
    name="accuracy", direction="maximize", function=accuracy, task=Task.CLASSIFICATION
)
_R2 = Metric(name="r2", direction="maximize", function=r2, task=Task.REGRESSION)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _ACCURACY,
        replace(_ACCURACY, name="balanced_accuracy", function=balanced_accuracy),
        replace(_ACCURACY, name="f1", function=f1),
        replace(_ACCURACY, name="cross_entropy", direction="minimize", function=cross_entropy),
        _R2,
        replace(_R2, name="mse", direction="minimize", function=mse),
        replace(_R2, name="rmse", direction="minimize", function=rmse),
        replace(_R2, name="mae", direction="minimize", function=mae),
    )
}
