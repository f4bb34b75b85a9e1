"""Samples of a data set, whichever way it comes: the first ones, their shape, how many there are.

Entry points: `first_rows`, which a model is tried out on; `input_shape`, `training_rows`,
`steps_per_epoch`; `recognise_task`, `has_label_columns` and `has_class_shares` of the targets of a
batch.
"""

import math
from typing import Any

from torch import Tensor

from ..dataset import Data, Task
from ..split import max_train_rows, share_rows
from .batch import Batch
from .source import BatchData

_SHARES_TOLERANCE = 1e-2
"""Of a sum of shares, which may be half-precision numbers."""


def first_rows(data: Data | BatchData, rows: int) -> Batch:
    """Return so many of the first training samples, or as many as there are.

    Args:
        data: In arrays, or in batches, of which the first is looked at.
        rows: How many.
    """
    if isinstance(data, BatchData):
        return data.example.select(slice(0, rows))
    inputs, targets = data.train.inputs[:rows], data.train.targets[:rows]
    return Batch(args=(inputs,), targets=targets, given=(inputs, targets))


def input_shape(data: Data | BatchData) -> tuple[int, ...] | None:
    """Return the shape of one sample; None where a model takes more than one tensor."""
    if not isinstance(data, BatchData):
        return data.input_shape
    arguments = data.example.args
    if len(arguments) != 1 or data.example.kwargs or not isinstance(arguments[0], Tensor):
        return None
    return tuple(arguments[0].shape[1:])


def training_rows(data: Data | BatchData, folds: int, share: float = 1.0) -> int | None:
    """Return the rows of an epoch, of the largest fold; None where a stream does not say.

    Args:
        data: All splits.
        folds: Of cross-validation; 1 where it comes in batches.
        share: Of the rows that is trained on, likewise.
    """
    if isinstance(data, BatchData):
        return data.train.rows
    return share_rows(max_train_rows(data, folds), share)


def steps_per_epoch(data: Data | BatchData, folds: int, batch_size: int, share: float = 1.0) -> int:
    """Return the batches of an epoch, a smaller last one included.

    Args:
        data: All splits.
        folds: Of cross-validation; 1 where it comes in batches.
        batch_size: Rows in a batch, where it lies in arrays.
        share: Of the rows that is trained on, likewise.
    """
    if isinstance(data, BatchData):
        return data.train.steps
    return math.ceil(share_rows(max_train_rows(data, folds), share) / batch_size)


def sample_counts(data: Data | BatchData) -> tuple[int, int]:
    """Return the training and validation rows; of a stream that does not say, whole batches'."""
    if isinstance(data, BatchData):
        train, validation = (
            source.steps * data.batch_size if source.rows is None else source.rows
            for source in (data.train, data.validation)
        )
        return train, validation
    return len(data.train), len(data.validation)


def recognise_task(targets: Any) -> Task | None:
    """Return what the targets of a batch ask for; None where they are several, or none.

    Whole numbers and true/false are classes, fractions quantities, but for several columns of 0
    and 1 alone: these are labels, yes or no each.
    """
    if not isinstance(targets, Tensor):
        return None
    if targets.is_floating_point() and not has_label_columns(targets):
        return Task.REGRESSION
    return Task.CLASSIFICATION


def has_label_columns(targets: Any) -> bool:
    """Return whether targets `[n, k, ...]` are 0 and 1, and not just one "yes" in each row.

    With one "yes" in each they are one class of `k`, written as shares.
    """
    return (
        isinstance(targets, Tensor)
        and targets.ndim > 1
        and targets.shape[1] > 1
        and bool(((targets == 0) | (targets == 1)).all())
        and bool((targets.sum(dim=1) != 1).any())
    )


def has_class_shares(targets: Any) -> bool:
    """Return whether targets `[n, k, ...]` are shares of `k` classes: floats with the sum 1."""
    return (
        isinstance(targets, Tensor)
        and targets.is_floating_point()
        and targets.ndim > 1
        and targets.shape[1] > 1
        and bool((targets >= 0).all())
        and bool(((targets.sum(dim=1) - 1).abs() < _SHARES_TOLERANCE).all())
    )
