"""The target column: classes or quantities, recognised and turned into numbers.

Text, true/false, categories and few distinct whole numbers are classes; fractions and many
distinct numbers are quantities. Rows without a target are dropped. A note tells the user what was
recognised, and `task` overrules it.

Entry points: `recognise_target` makes a `Target`; `encode_target` gives the tensors of each split.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .dataset import Task
from .split import MIN_ROWS_FOR_ALL_SPLITS, Partition
from .table import MAX_FLOAT32, FloatArray, as_numbers, format_names

MIN_ROWS = 20
"""Rows below which the 20 % of a validation split are too few to judge by."""

MAX_INTEGER_CLASSES = 20
"""Distinct whole numbers up to which they are classes."""

MIN_MEAN_ROWS_PER_CLASS = 5
"""Rows on average to each distinct whole number for them to be classes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What is to be predicted.

    Attributes:
        name: Column name.
        task: Classes or quantities.
        values: Class numbers (int64, `rows`), or float64 quantities (`rows` or `rows x columns`);
            only rows that have one.
        classes: Class names; None for quantities.
        has_target: For each row of the file, whether it has a target.
        notes: Sentences for the user on what was recognised and dropped.
    """

    name: str
    task: Task
    values: NDArray[Any]
    classes: tuple[str, ...] | None
    has_target: NDArray[np.bool_]
    notes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """Classes, or target columns."""
        if self.classes is not None:
            return len(self.classes)
        return 1 if self.values.ndim == 1 else int(self.values.shape[1])


class EncodedTarget(NamedTuple):
    """The targets of each split, and the scale that quantities were standardised by.

    Attributes:
        splits: Class numbers (int64) or quantities (float32) of training, validation and test.
        mean: Of each target column in the training split; empty where nothing was standardised.
        scale: Standard deviation of each, likewise.
    """

    splits: list[Tensor]
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


def recognise_target(
    column: "pd.Series[Any] | NDArray[Any]", name: str, task: Task | None = None
) -> Target:
    """Recognise a target.

    Args:
        column: One value a row, or a matrix of quantities.
        name: For people.
        task: Overrules what would be recognised.

    Raises:
        DataError: Too few rows, one class only, or nothing that can be predicted.
    """
    if isinstance(column, np.ndarray) and column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if isinstance(column, np.ndarray) and column.ndim > 1:
        return _regression_target(column.reshape(len(column), -1).astype(np.float64), name, 0)
    series: pd.Series[Any] = pd.Series(column)
    parsed = as_numbers(series)
    if parsed is None and pd.api.types.is_datetime64_any_dtype(series):
        raise DataError(f"target '{name}' holds dates: choose a column of classes or numbers.")
    if task is None:
        task = _recognise_task(series, parsed)
    if task == Task.CLASSIFICATION:
        return _class_target(series, name, parsed)
    if parsed is None:
        examples = ", ".join(repr(value) for value in series.dropna().unique()[:3])
        raise DataError(
            f"target '{name}' holds text ({examples}), a regression needs numbers: choose "
            "another target, or task 'classification'."
        )
    return _regression_target(parsed[0], name, parsed[1])


def encode_target(target: Target, partition: Partition, *, standardise: bool) -> EncodedTarget:
    """Return the targets of each split as tensors.

    Args:
        target: Classes stay the numbers they are.
        partition: Of the target's rows.
        standardise: Whether quantities are standardised by the training split.
    """
    values_by_split = [target.values[rows] for rows in partition.splits]
    if target.task == Task.CLASSIFICATION:
        return EncodedTarget([torch.from_numpy(values) for values in values_by_split])
    if not standardise:
        return EncodedTarget(
            [torch.from_numpy(values.astype(np.float32)) for values in values_by_split]
        )
    train_values = values_by_split[0]
    mean, scale = train_values.mean(axis=0), train_values.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return EncodedTarget(
        [
            torch.from_numpy(((values - mean) / scale).astype(np.float32))
            for values in values_by_split
        ],
        mean=tuple(np.atleast_1d(mean).tolist()),
        scale=tuple(np.atleast_1d(scale).tolist()),
    )


def _recognise_task(series: "pd.Series[Any]", parsed: tuple[FloatArray, int] | None) -> Task:
    if parsed is None or pd.api.types.is_bool_dtype(series):
        return Task.CLASSIFICATION
    values = parsed[0][np.isfinite(parsed[0])]
    if not np.array_equal(values, np.round(values)):
        return Task.REGRESSION
    distinct = len(np.unique(values))
    few_values = distinct <= MAX_INTEGER_CLASSES and distinct * MIN_MEAN_ROWS_PER_CLASS <= len(
        values
    )
    return Task.CLASSIFICATION if few_values or distinct <= 2 else Task.REGRESSION


def _class_target(
    series: "pd.Series[Any]", name: str, parsed: tuple[FloatArray, int] | None
) -> Target:
    if parsed is None or parsed[1] or pd.api.types.is_bool_dtype(series):
        # Text among numbers is a class of its own, not a gap: '0', '1' and 'rare' are three.
        has_target = series.notna().to_numpy()
        labels, values = np.unique(
            series[has_target].astype(str).to_numpy(str), return_inverse=True
        )
        classes = tuple(labels.tolist())
    else:
        has_target = np.isfinite(parsed[0])
        numbers, values = np.unique(parsed[0][has_target], return_inverse=True)
        classes = tuple(f"{number:.15g}" for number in numbers)
    note = f"target '{name}': classification with {len(classes)} classes"
    counts = np.bincount(values, minlength=len(classes))
    _require_classes(name, classes, counts)
    return Target(
        name=name,
        task=Task.CLASSIFICATION,
        values=values.astype(np.int64),
        classes=classes,
        has_target=has_target,
        notes=(*_dropped_rows_notes(name, has_target), note),
    )


def _require_classes(name: str, classes: tuple[str, ...], counts: NDArray[np.int64]) -> None:
    rows = int(counts.sum())
    _require_rows(name, rows)
    if len(classes) == 1:
        raise DataError(
            f"target '{name}' has one class only, '{classes[0]}', in all {rows} rows: at least "
            "two are needed; choose another target."
        )
    if 2 * len(classes) > rows:
        raise DataError(
            f"target '{name}' has {len(classes)} different values in {rows} rows: these are names "
            "rather than classes; choose another target."
        )
    if (counts >= MIN_ROWS_FOR_ALL_SPLITS).sum() < 2:
        rare_class = int(counts.argsort()[-2])
        raise DataError(
            f"class '{classes[rare_class]}' of target '{name}' has {counts[rare_class]} rows, and "
            f"no second class has the {MIN_ROWS_FOR_ALL_SPLITS} that training, validation and test "
            "need: add rows of it."
        )


def _regression_target(values: FloatArray, name: str, non_numeric: int) -> Target:
    by_row = values.reshape(len(values), -1)
    has_target: NDArray[np.bool_] = np.all(
        np.abs(by_row) <= MAX_FLOAT32, axis=1
    )  # False for NaN, too
    values = values[has_target]
    _require_rows(name, len(values))
    if (values == values[0]).all():
        raise DataError(
            f"target '{name}' is {values.flat[0]:g} in all {len(values)} rows: there is nothing "
            "to predict; choose another target."
        )
    columns = "" if values.ndim == 1 else f" with {values.shape[1]} target columns"
    note = f"target '{name}': regression{columns}, values from {values.min():g} to {values.max():g}"
    non_numeric_notes = (
        [f"{non_numeric} values of target '{name}' are no numbers"] if non_numeric else []
    )
    return Target(
        name=name,
        task=Task.REGRESSION,
        values=values,
        classes=None,
        has_target=has_target,
        notes=(*non_numeric_notes, *_dropped_rows_notes(name, has_target), note),
    )


def _require_rows(name: str, rows: int) -> None:
    if rows < MIN_ROWS:
        raise DataError(
            f"there are {rows} rows with a target '{name}', at least {MIN_ROWS} are needed: "
            "add rows."
        )


def _dropped_rows_notes(name: str, has_target: NDArray[np.bool_]) -> list[str]:
    dropped_count = int((~has_target).sum())
    return (
        [f"dropped {dropped_count} rows without a target {format_names([name])}"]
        if dropped_count
        else []
    )
