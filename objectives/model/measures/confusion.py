"""Measures of classes by scikit-learn: precision, recall, IoU, Dice, Matthews, Hamming and ranks.

What only counts classes is summed up as confusion matrices, whose cells scikit-learn gets as
weighted rows: the figure is that of the whole split, and nothing of its size is kept. What ranks
rows by their scores (the area under a curve) needs the whole split.

Of classes, figures are means over those that occur in the targets or the predictions. Of several
labels a row, they are means over the labels, "yes" being what is looked for. Of a mask or a row
with a single logit each, IoU, Dice and average precision are those of "yes".

Entry points: the measures `PRECISION`, `RECALL`, `F1_MICRO`, `F1_WEIGHTED`, `IOU`, `DICE`, `MCC`,
`KAPPA`, `HAMMING`, `AUROC`, `AVERAGE_PRECISION`.
"""

import math
from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.dataset import IGNORED_CLASS
from ...errors import MetricError
from ..losses import has_single_logits
from .accumulate import SummedMeasure, Sums, WholeMeasure, add_class_sums
from .classes import class_predictions, counted_only, is_multilabel
from .late_sklearn import sklearn_metric

_MAX_CLASSES = 4096
"""Of a confusion matrix: 128 MiB."""

Matrix = NDArray[np.float64]
"""Rows (pixels, labels) by target (axis 0) and prediction (axis 1), `[classes, classes]`."""


def _confusion_sums(output: Any, targets: Any) -> Sums:
    """Return confusion matrices, and whether they are of yes and no.

    Returns:
        `[1, classes, classes]`, or `[labels, 2, 2]` of several labels a row; and a number that is
        above 0 where outputs are single logits.
    """
    output, predictions, target = class_predictions(output, targets)
    is_yes_or_no = torch.tensor([float(has_single_logits(output, target))], dtype=torch.float64)
    if is_multilabel(output, target):
        cells = (2 * target + predictions)[..., None] == torch.arange(4, device=target.device)
        counted = (target != IGNORED_CLASS)[..., None]
        return (cells & counted).sum(dim=0).double().reshape(-1, 2, 2), is_yes_or_no
    predictions, target = counted_only(predictions, target)
    if not len(target):
        return torch.zeros((1, 1, 1), dtype=torch.float64, device=target.device), is_yes_or_no
    classes = int(torch.maximum(predictions.max(), target.max())) + 1
    if classes > _MAX_CLASSES:
        raise MetricError(
            f"it counts pairs of classes, and {classes:,} classes are too many for that (at most "
            f"{_MAX_CLASSES:,}): take accuracy, f1, cross_entropy or perplexity."
        )
    counts = torch.bincount(classes * target + predictions, minlength=classes**2)
    return counts.double().reshape(1, classes, classes), is_yes_or_no


def _by_confusion(finish: Callable[[list[Matrix], bool], float]) -> SummedMeasure:
    """Return the measure that a function makes of confusion matrices.

    Args:
        finish: From the matrix, or one for each label, and whether these are of yes and no.
    """

    def finish_sums(matrices: Tensor, is_yes_or_no: Tensor) -> float:
        return float(finish(list(matrices.cpu().numpy()), bool(is_yes_or_no > 0)))

    return SummedMeasure(of_batch=_confusion_sums, finish=finish_sums, merge=add_class_sums)


def _as_rows(matrix: Matrix) -> dict[str, Any]:
    """Return the arguments by which scikit-learn takes a matrix's cells for weighted rows."""
    target, prediction = np.indices(matrix.shape)
    used = matrix.ravel() > 0
    return {
        "y_true": target.ravel()[used],
        "y_pred": prediction.ravel()[used],
        "sample_weight": matrix.ravel()[used],
    }


def _of_yes(function: Callable[..., float], matrix: Matrix) -> float:
    """Return a figure of the class 1."""
    return float(
        function(**_as_rows(matrix), labels=[1], average="macro", zero_division=0.0)
        if matrix.sum()
        else math.nan
    )


def _averaged(function: Callable[..., float], average: str) -> SummedMeasure:
    """Return the measure of a function of scikit-learn that averages over classes."""

    def finish(matrices: list[Matrix], is_yes_or_no: bool) -> float:  # noqa: ARG001
        if len(matrices) > 1:
            if average == "micro":
                return _of_yes(function, np.sum(matrices, axis=0))
            figures = [_of_yes(function, matrix) for matrix in matrices]
            if average == "macro":
                return fmean(figures)
            frequencies = [float(matrix[1].sum()) for matrix in matrices]
            return float(np.average(figures, weights=frequencies)) if sum(frequencies) else 0.0
        (matrix,) = matrices
        occurring = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
        return float(
            function(**_as_rows(matrix), labels=occurring, average=average, zero_division=0.0)
        )

    return _by_confusion(finish)


def _overlap(function: Callable[..., float]) -> SummedMeasure:
    """Return the measure of the overlap of masks: of the foreground where there is just one."""

    def finish(matrices: list[Matrix], is_yes_or_no: bool) -> float:
        if is_yes_or_no:
            present = [matrix for matrix in matrices if matrix[1:].any() or matrix[:, 1:].any()]
            return fmean(_of_yes(function, matrix) for matrix in present) if present else 0.0
        (matrix,) = matrices
        occurring = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
        return float(
            function(**_as_rows(matrix), labels=occurring, average="macro", zero_division=0.0)
        )

    return _by_confusion(finish)


def _agreement(function: Callable[..., float]) -> SummedMeasure:
    """Return the measure of agreement: of several labels, the mean over them."""
    return _by_confusion(
        lambda matrices, _: fmean(function(**_as_rows(matrix)) for matrix in matrices)
    )


PRECISION = _averaged(sklearn_metric("precision_score"), "macro")
"""Of what is predicted as a class, the share that is one."""
RECALL = _averaged(sklearn_metric("recall_score"), "macro")
"""Of what is of a class, the share that is predicted as one."""
F1_MICRO = _averaged(sklearn_metric("f1_score"), "micro")
"""F1 of all classes' or labels' counts together."""
F1_WEIGHTED = _averaged(sklearn_metric("f1_score"), "weighted")
"""F1 by class, weighted by the targets of each."""
IOU = _overlap(sklearn_metric("jaccard_score"))
"""Intersection over union of target and prediction (Jaccard), over all pixels of the split."""
DICE = _overlap(sklearn_metric("f1_score"))
"""2 · intersection / (target + prediction), over all pixels of the split."""
MCC = _agreement(sklearn_metric("matthews_corrcoef"))
"""Matthews' correlation of targets and predictions."""
KAPPA = _agreement(
    lambda y_true, y_pred, sample_weight: sklearn_metric("cohen_kappa_score")(
        y_true, y_pred, sample_weight=sample_weight
    )
)
"""Cohen's kappa: agreement beyond chance."""
HAMMING = _agreement(sklearn_metric("hamming_loss"))
"""Share of labels, or of rows, that are wrong."""


def _rank_by(function: Callable[..., float], output: Any, targets: Any, **options: Any) -> float:
    """Return what scikit-learn makes of scores: of yes, of each label, or of each class."""
    output, _, target = class_predictions(output, targets)
    if is_multilabel(output, target):
        labels = zip(output.reshape(target.shape).T, target.T, strict=True)
        return fmean(_rank_yes(function, *label) for label in labels)
    if has_single_logits(output, target):
        return _rank_yes(function, output.reshape(target.shape), target)
    counted = target.flatten() != IGNORED_CLASS
    logits = output.movedim(1, -1).reshape(-1, output.shape[1])[counted]
    target = target.flatten()[counted]
    if logits.shape[1] == 2:
        return _rank_yes(function, logits[:, 1] - logits[:, 0], target)
    figures = []
    scores = logits.double().softmax(dim=1)
    for number in range(logits.shape[1]):
        is_one = target == number
        if bool(is_one.any()) and not bool(is_one.all()):
            figures.append(float(function(is_one.numpy(), scores[:, number].numpy(), **options)))
    if not figures:
        raise _one_class_error(target)
    return fmean(figures)


def _rank_yes(function: Callable[..., float], scores: Tensor, target: Tensor) -> float:
    counted = target != IGNORED_CLASS
    scores, target = scores[counted], target[counted]
    if not len(target) or bool((target == target[0]).all()):
        raise _one_class_error(target)
    return float(function(target.numpy(), scores.double().numpy()))


def _one_class_error(target: Tensor) -> MetricError:
    return MetricError(
        f"it ranks rows of a class above others, and all {len(target)} targets are of one class: "
        "give a split with both."
    )


AUROC = WholeMeasure(function=partial(_rank_by, sklearn_metric("roc_auc_score")))
"""Area under the receiver operating characteristic, each class against the others."""
AVERAGE_PRECISION = WholeMeasure(
    function=partial(_rank_by, sklearn_metric("average_precision_score"))
)
"""Area under the precision-recall curve, each class against the others."""
