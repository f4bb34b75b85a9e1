"""Measures of classes that are computed by torch: accuracy, F1, cross-entropy and their kin.

They run once an epoch for each candidate: a call takes 0.01 to 0.1 ms here where scikit-learn's
takes 0.2 to 2 ms (360 rows, 10 classes) and needs a GPU's outputs on the host. They give
scikit-learn's values (a test compares them). `confusion` has the ones that are asked for less.

Targets are class numbers `[n, ...]`, -100 being left out, or yes and no for each of several labels
`[n, labels]`. Outputs have the classes on axis 1 (or last, where only that fits), or a logit for
each target.

Entry points: the measures `ACCURACY`, `BALANCED_ACCURACY`, `F1`, `CROSS_ENTROPY`, `PERPLEXITY`,
`TOP5_ACCURACY`; `class_predictions`, `is_multilabel`, `counted_only`.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ...data.dataset import IGNORED_CLASS
from ...errors import MetricError, describe_shape
from ..losses import classes_on_axis_1, has_single_logits
from ..losses import cross_entropy as cross_entropy_loss
from .accumulate import SummedMeasure, Sums, add_class_sums, add_sums
from .outputs import class_targets, prediction_tensor, target_tensor

_TOP = 5


def class_predictions(output: Any, targets: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs, the predicted classes and the targets, both int64 and of one shape.

    A prediction is the largest logit on axis 1, or the sign of a single logit.

    Raises:
        MetricError: The outputs do not fit the targets.
    """
    target, output = class_targets(targets), prediction_tensor(output)
    if has_single_logits(output, target):
        return output, (output.reshape(target.shape) > 0).long(), target
    output = classes_on_axis_1(output, target)
    predictions = output.argmax(dim=1) if output.ndim > 1 else output
    if predictions.shape != target.shape:  # broadcasting would give a number, and a wrong one
        raise MetricError(
            f"the model's outputs have the shape {describe_shape(output)}, the targets "
            f"{describe_shape(target)}: give the classes on axis 1, or a logit for each target."
        )
    return output, predictions, target


def is_multilabel(output: Tensor, target: Tensor) -> bool:
    """Return whether a row has several labels, yes or no each."""
    return target.ndim == 2 and target.shape[1] > 1 and has_single_logits(output, target)


def counted_only(predictions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predictions and targets that count, flat: not those of the ignored class."""
    counted = target != IGNORED_CLASS
    if target.ndim == 1 and bool(counted.all()):
        return predictions, target
    return predictions[counted], target[counted]


def _accuracy_sums(output: Any, targets: Any) -> Sums:
    _, predictions, target = class_predictions(output, targets)
    predictions, actual = counted_only(predictions, target)
    hits = (predictions == actual).double().sum()
    return hits, torch.full_like(hits, actual.numel())


def _mean(total: Tensor, count: Tensor) -> float:
    return float(total / count)


ACCURACY = SummedMeasure(of_batch=_accuracy_sums, finish=_mean, merge=add_sums)
"""The share of targets whose class is predicted: of rows, positions or labels."""


def _top5_sums(output: Any, targets: Any) -> Sums:
    output, _, target = class_predictions(output, targets)
    if has_single_logits(output, target) or output.shape[1] <= _TOP:
        raise MetricError(
            f"the model's outputs have the shape {describe_shape(output)}, and top5_accuracy needs "
            f"more than {_TOP} classes on axis 1: take accuracy."
        )
    best = output.topk(_TOP, dim=1).indices
    hit = (best == target.unsqueeze(1)).any(dim=1)[target != IGNORED_CLASS]
    hits = hit.double().sum()
    return hits, torch.full_like(hits, hit.numel())


TOP5_ACCURACY = SummedMeasure(of_batch=_top5_sums, finish=_mean, merge=add_sums)
"""The share of targets whose class is among the five largest logits."""


def class_counts(predictions: Tensor, target: Tensor) -> Sums:
    """Return per class, in float64: targets predicted rightly, targets, predictions."""
    predictions, target = counted_only(predictions, target)
    if not len(target):
        return tuple(torch.zeros(1, dtype=torch.float64, device=target.device) for _ in range(3))
    classes = int(torch.maximum(predictions.max(), target.max())) + 1
    return (
        torch.bincount(target[predictions == target], minlength=classes).double(),
        torch.bincount(target, minlength=classes).double(),
        torch.bincount(predictions, minlength=classes).double(),
    )


def label_counts(predictions: Tensor, target: Tensor) -> Sums:
    """Return what `class_counts` does of no and yes for each label: `[labels, 2]` each."""
    told = target != IGNORED_CLASS
    actual = torch.stack([target == 0, target == 1], dim=-1)
    said = torch.stack([told & (predictions == 0), told & (predictions == 1)], dim=-1)
    hits, actual_count, predicted = (
        flags.sum(dim=0).double() for flags in (actual & said, actual, said)
    )
    return hits, actual_count, predicted


def _count_sums(output: Any, targets: Any) -> Sums:
    """Return hits, targets and predictions: `[classes]`, or `[labels, 2]` of several labels."""
    output, predictions, target = class_predictions(output, targets)
    if is_multilabel(output, target):
        return label_counts(predictions, target)
    return class_counts(predictions, target)


def _mean_recall(hits: Tensor, actual: Tensor, predicted: Tensor) -> float:  # noqa: ARG001
    if hits.ndim == 2:  # each label is judged by itself
        told = actual.sum(dim=1) > 0
        recalls = [_present_mean(*label) for label in zip(hits[told], actual[told], strict=True)]
        return sum(recalls) / max(len(recalls), 1)
    return _present_mean(hits, actual)


def _present_mean(hits: Tensor, actual: Tensor) -> float:
    present = actual > 0
    return float((hits[present] / actual[present]).mean())


BALANCED_ACCURACY = SummedMeasure(of_batch=_count_sums, finish=_mean_recall, merge=add_class_sums)
"""The mean over the classes in the targets of the share of theirs that is predicted.

Of several labels a row, each is judged by itself, and the mean is taken over them.
"""


def _mean_f1(hits: Tensor, actual: Tensor, predicted: Tensor) -> float:
    if hits.ndim == 2:
        sizes = (actual + predicted)[:, 1]
        return float((2 * hits[:, 1] / sizes.clamp_min(1)).mean())
    occurring = (actual + predicted) > 0
    return float((2 * hits[occurring] / (actual + predicted)[occurring]).mean())


F1 = SummedMeasure(of_batch=_count_sums, finish=_mean_f1, merge=add_class_sums)
"""The mean over the classes of 2 hits / (targets of it + predictions of it).

Of several labels a row, it is the mean over the labels, "yes" being what is looked for.
"""


def _likelihood_sums(output: Any, targets: Any) -> Sums:
    output, target = prediction_tensor(output), target_tensor(targets)
    if target.dtype != torch.int64 and not target.is_floating_point():
        target = target.long()
    if has_single_logits(output, target):
        output, target = counted_only(output.reshape(target.shape), target)
        count: float = target.numel()
    elif target.is_floating_point():
        count = target.numel() / max(target.shape[1], 1) if target.ndim > 1 else len(target)
    else:
        count = int((target != IGNORED_CLASS).sum())
    if not count:
        nothing = torch.zeros((), dtype=torch.float64, device=output.device)
        return nothing, nothing
    total = cross_entropy_loss(output.double(), target).double() * count
    return total, torch.full_like(total, count)


CROSS_ENTROPY = SummedMeasure(of_batch=_likelihood_sums, finish=_mean, merge=add_sums)
"""The mean negative log-likelihood of the target classes, in nats."""


def _perplexity(total: Tensor, count: Tensor) -> float:
    try:
        return math.exp(_mean(total, count))
    except OverflowError:  # the loop tells of what is not finite
        return math.inf


PERPLEXITY = SummedMeasure(of_batch=_likelihood_sums, finish=_perplexity, merge=add_sums)
"""exp(mean negative log-likelihood of a token), -100 being left out: 1 is perfect."""
