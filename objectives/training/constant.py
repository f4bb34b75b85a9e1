"""The constant prediction: what a metric is for a model that gives every row the same.

It is what a network has to beat that has learnt anything: the mean of the training targets (for
absolute errors their median), the commonest class, the classes' shares as probabilities. Each is
judged on the validation rows, by the metric and in the units that candidates are judged in.

Entry points: `constant_score`, `constant_loss`; `score_constant` on one split; `gives_quantities`.
"""

from collections.abc import Mapping
from statistics import fmean

import torch
from torch import Tensor

from ..data.dataset import IGNORED_CLASS, Data, Split, Task
from ..data.split import make_folds
from ..data.streams.source import BatchData
from ..model.losses import align_to_targets
from ..model.metrics import METRICS
from ..model.objective import ModuleObjective, Objective, has_built_in_loss
from ..randomness import Randomness
from .evaluate import evaluate_metric

_SAMPLE_COUNT = 2
_UNSEEN_CLASS = 0.5
"""Rows that a class counts as which has none: its probability must not be 0."""


def constant_score(
    objective: ModuleObjective, folds: int, widths: Mapping[str, int], *, repeats: int = 1
) -> float | None:
    """Return the validation metric of a constant prediction, the mean over the folds.

    None where a metric of the user's own cannot be asked: for classes, since only it knows what its
    outputs mean, and where the model's outputs do not have the targets' shape. None, too, for data
    that comes in batches.

    Args:
        objective: The data and the metric.
        folds: Of cross-validation; 1 for the validation split.
        widths: A small candidate, which is built and called for the shape of its outputs where the
            metric is the user's own.
        repeats: Of the folds.
    """
    built_in, arrays = objective.metric.task is not None, objective.data
    if isinstance(arrays, BatchData):  # no pass over all that is trained on, for this alone
        return None
    try:
        with Randomness(0, torch.device("cpu")), torch.no_grad():
            if not built_in and not gives_quantities(objective, widths):
                return None
            return fmean(
                score_constant(objective, data, data.validation)
                for data in make_folds(arrays, folds, repeats)
            )
    except Exception:  # a metric that cannot judge it leaves trials unmarked, and no more
        return None


def constant_loss(objective: ModuleObjective, folds: int, *, repeats: int = 1) -> float | None:
    """Return the validation loss of a constant prediction, the mean over the folds.

    None for a loss of the user's own, which may take outputs for anything, and for data that comes
    in batches.

    Args:
        objective: The data and the loss.
        folds: Of cross-validation; 1 for the validation split.
        repeats: Of the folds.
    """
    arrays = objective.data
    if isinstance(arrays, BatchData) or not has_built_in_loss(objective):
        return None
    # What errs least by this loss; a Huber loss counts errors of standardised targets squared.
    name = METRICS["mae"].name if objective.loss_name == "mae" else ""
    try:
        with torch.no_grad():
            return fmean(
                float(
                    objective.loss(
                        _constant_output(data, data.validation, name), data.validation.targets
                    )
                )
                for data in make_folds(arrays, folds, repeats)
            )
    except Exception:  # a model whose outputs are of another kind leaves it unknown, and no more
        return None


def gives_quantities(objective: ModuleObjective, widths: Mapping[str, int]) -> bool:
    """Return whether a candidate's outputs are the targets' quantities, one for one."""
    data = objective.data
    if isinstance(data, BatchData) or data.task != Task.REGRESSION:
        return False
    train = data.train
    targets = train.targets[:_SAMPLE_COUNT]
    with Randomness(0, torch.device("cpu")), torch.no_grad():
        output = objective.build(widths).cpu().eval()(train.inputs[:_SAMPLE_COUNT])
    aligned = align_to_targets(output, targets, Task.REGRESSION)
    return isinstance(aligned, Tensor) and aligned.shape == targets.shape


def score_constant(objective: Objective, data: Data, split: Split) -> float:
    """Return the metric on a split of what is typical of the training rows.

    Raises:
        MetricError: The metric cannot judge it.
    """
    output = _constant_output(data, split, objective.metric.name)
    return evaluate_metric(objective, output, split.targets)


def _constant_output(data: Data, split: Split, metric: str) -> Tensor:
    """Return what a model would give that answers each row of a split with what is typical."""
    targets = split.targets
    if data.task == Task.REGRESSION:
        constant = _typical_quantity(data.train.targets.double(), metric)
        return constant.expand(targets.shape).float()
    return _typical_logits(data, data.class_numbers(targets))


def _typical_quantity(targets: Tensor, metric: str) -> Tensor:
    """Return the quantity of each column, or of each position, that errs least."""
    return targets.quantile(0.5, dim=0) if metric == METRICS["mae"].name else targets.mean(dim=0)


def _typical_logits(data: Data, predicted: Tensor) -> Tensor:
    """Return the logits of the training rows' shares, for each row and position predicted."""
    numbers, classes = data.class_numbers(data.train.targets), data.class_count
    if numbers.ndim > 1 and classes == 2:  # yes or no, for each label or position
        told = (numbers != IGNORED_CLASS).sum(dim=0) + 2 * _UNSEEN_CLASS
        yes = ((numbers == 1).sum(dim=0).double() + _UNSEEN_CLASS) / told
        if data.leaves_positions_out:  # which a single logit cannot be judged on
            both = torch.stack([1 - yes, yes]).log()
            return both.expand(len(predicted), *both.shape)
        return yes.logit().expand(predicted.shape)
    counted = numbers[numbers != IGNORED_CLASS]
    counts = torch.bincount(counted, minlength=max(classes, 2)).double().clamp_min(_UNSEEN_CLASS)
    logits = (counts / counts.sum()).log()
    rows, *positions = predicted.shape
    shape = (1, len(logits), *(1 for _ in positions))
    return logits.reshape(shape).expand(rows, -1, *positions)
