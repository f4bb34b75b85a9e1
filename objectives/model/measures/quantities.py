"""Measures of quantities: errors and explained variance, in the units of the targets.

Entry points: the measures `R2`, `MSE`, `RMSE`, `MAE`, `MAPE`, `EXPLAINED_VARIANCE`, `PEARSON`,
`SPEARMAN`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from ...data.dataset import Task
from ...errors import MetricError, describe_shape
from ..losses import align_to_targets
from .accumulate import SummedMeasure, Sums, WholeMeasure, add_sums
from .late_sklearn import sklearn_metric
from .outputs import prediction_tensor, target_tensor

_TINY = float(np.finfo(np.float64).eps)
"""Least target that an error is divided by, as scikit-learn's."""


def quantities(output: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of one shape, float64.

    Raises:
        MetricError: They do not have one shape.
    """
    target = target_tensor(targets)
    output = align_to_targets(prediction_tensor(output), target, Task.REGRESSION)
    if output.shape != target.shape:  # broadcasting would give a number, and a wrong one
        raise MetricError(
            f"the model's outputs have the shape {describe_shape(output)}, the targets "
            f"{describe_shape(target)}: end the model in one output for each target column."
        )
    return output.double(), target.double()


def _mean_of(error: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Sums]:
    def sums(output: Any, targets: Any) -> Sums:
        total = error(*quantities(output, targets)).sum()
        return total, torch.full_like(total, target_tensor(targets).numel())

    return sums


def _squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square()


def _absolute(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs()


def _relative(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs() / target.abs().clamp_min(_TINY)


def _mean(total: Tensor, count: Tensor) -> float:
    return float(total / count)


def _root_mean(total: Tensor, count: Tensor) -> float:
    return float(_mean(total, count) ** 0.5)


MSE = SummedMeasure(of_batch=_mean_of(_squared), finish=_mean, merge=add_sums)
"""The mean squared error, in squared target units."""
RMSE = SummedMeasure(of_batch=_mean_of(_squared), finish=_root_mean, merge=add_sums)
"""The root of the mean squared error, in target units."""
MAE = SummedMeasure(of_batch=_mean_of(_absolute), finish=_mean, merge=add_sums)
"""The mean absolute error, in target units."""
MAPE = SummedMeasure(of_batch=_mean_of(_relative), finish=_mean, merge=add_sums)
"""The mean absolute error as a share of the target: 0.1 is ten per cent."""


def _variance_sums(output: Any, targets: Any) -> Sums:
    """Return squared error and deviation from the mean by column, the mean, and the rows."""
    output, target = quantities(output, targets)
    mean = target.mean(dim=0)
    return (
        (output - target).square().sum(dim=0),
        (target - mean).square().sum(dim=0),
        mean,
        torch.full_like(mean, len(target)),
    )


def _add_variances(sums: Sums, others: Sums) -> Sums:
    """Return the sums over both groups of rows.

    Means differ, so that deviations grow by (difference of means)² · n m / (n + m): T. F. Chan,
    G. H. Golub and R. J. LeVeque, The American Statistician 37 (1983) 242. Sums of squares less a
    square of sums would lose the digits of targets far from zero.
    """
    error, deviation, mean, count = sums
    other_error, other_deviation, other_mean, other_count = others
    if mean.shape != other_mean.shape:
        raise MetricError(
            f"r2 compares each position with its mean, and targets have the shape "
            f"{list(mean.shape)} in one batch and {list(other_mean.shape)} in another: pad them to "
            "one length, or take mse."
        )
    rows = count + other_count
    difference = other_mean - mean
    return (
        error + other_error,
        deviation + other_deviation + difference.square() * count * other_count / rows,
        mean + difference * other_count / rows,
        rows,
    )


def _explained(error: Tensor, deviation: Tensor, mean: Tensor, count: Tensor) -> float:  # noqa: ARG001
    # A target without spread explains nothing: 1 if it is met exactly, else 0.
    constant_target = torch.where(error == 0, 1.0, 0.0).double()
    return float(
        torch.where(deviation > 0, 1 - error / deviation.clamp_min(1e-300), constant_target).mean()
    )


R2 = SummedMeasure(of_batch=_variance_sums, finish=_explained, merge=_add_variances)
"""1 - squared error / squared deviation from the mean, averaged over the columns."""


def _by_column(function: Callable[[Any, Any], float]) -> WholeMeasure:
    """Return the measure of a function `(targets, outputs) -> figure`, averaged over columns."""

    def figure(output: Any, targets: Any) -> float:
        outputs, target = (
            values.reshape(len(values), -1).numpy() for values in quantities(output, targets)
        )
        columns = zip(target.T, outputs.T, strict=True)
        return float(np.mean([function(*column) for column in columns]))

    return WholeMeasure(function=figure)


def _correlation(name: str) -> Callable[[Any, Any], float]:
    def correlation(target: Any, output: Any) -> float:
        if np.ptp(target) == 0 or np.ptp(output) == 0:  # a constant goes with nothing
            return 0.0
        return float(getattr(scipy.stats, name)(target, output).statistic)

    return correlation


EXPLAINED_VARIANCE = _by_column(sklearn_metric("explained_variance_score"))
"""1 - variance of the errors / variance of the targets: as R2, but for a constant shift."""
PEARSON = _by_column(_correlation("pearsonr"))
"""The linear correlation of outputs and targets."""
SPEARMAN = _by_column(_correlation("spearmanr"))
"""The correlation of their ranks."""
