"""The target column: classes or quantities, recognised and turned into numbers.

Text, true/false, categories and few distinct whole numbers are classes; fractions and many
distinct numbers are quantities. Rows without a target are dropped. The choice is said in a note,
and `task` overrules it.

Entry points: `read_target`, which makes a `Target`; `Target.split` cuts it into splits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .columns import MAX_FLOAT32, as_numbers, format_names
from .dataset import Task
from .split import MIN_ROWS_FOR_ALL_SPLITS, Partition, shuffled_partition, stratified_partition

MIN_ROWS = 20
"""Rows below which 20 % of them tell nothing."""

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
        notes: Sentences on what was recognised.
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

    def partition(self, seed: int) -> Partition:
        """Divide the rows: stratified for classes, at random for quantities."""
        if self.task == "classification":
            return stratified_partition(self.values, seed)
        return shuffled_partition(len(self.values), seed)

    def rare_class_notes(self) -> tuple[str, ...]:
        """Say which classes have too few rows for every split of a partition, if any."""
        if self.classes is None:
            return ()
        counts = np.bincount(self.values, minlength=len(self.classes))
        rare_classes = [
            f"'{self.classes[index]}' ({counts[index]})"
            for index in np.flatnonzero(counts < MIN_ROWS_FOR_ALL_SPLITS)
        ]
        note = (
            f"classes with fewer than {MIN_ROWS_FOR_ALL_SPLITS} rows are in the training split only, "
            f"validation and test cannot speak for them: {', '.join(rare_classes)}"
        )
        return (note,) if rare_classes else ()

    def split(
        self, partition: Partition, *, standardise: bool = True
    ) -> tuple[list[Tensor], dict[str, tuple[float, ...]]]:
        """Return the targets of each split, and the scale that quantities were standardised by.

        The scale is the training split's: `target_mean` and `target_scale`, as `Data` has them.
        """
        values_by_split = [self.values[rows] for rows in partition.splits]
        if self.task == "classification":
            return [torch.from_numpy(values) for values in values_by_split], {}
        if not standardise:
            return [torch.from_numpy(values.astype(np.float32)) for values in values_by_split], {}
        train_values = values_by_split[0]
        mean, scale = train_values.mean(axis=0), train_values.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        splits = [
            torch.from_numpy(((values - mean) / scale).astype(np.float32))
            for values in values_by_split
        ]
        return splits, {
            "target_mean": tuple(np.atleast_1d(mean).tolist()),
            "target_scale": tuple(np.atleast_1d(scale).tolist()),
        }


def read_target(
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
    if task == "classification":
        return _class_target(series, name, parsed)
    if parsed is None:
        examples = ", ".join(repr(value) for value in series.dropna().unique()[:3])
        raise DataError(
            f"target '{name}' holds text ({examples}), a regression needs numbers: choose "
            "another target, or task 'classification'."
        )
    return _regression_target(parsed[0], name, parsed[1])


def _recognise_task(
    series: "pd.Series[Any]", parsed: tuple[NDArray[np.float64], int] | None
) -> Task:
    if parsed is None or pd.api.types.is_bool_dtype(series):
        return "classification"
    values = parsed[0][np.isfinite(parsed[0])]
    if not np.array_equal(values, np.round(values)):
        return "regression"
    distinct = len(np.unique(values))
    few_values = distinct <= MAX_INTEGER_CLASSES and distinct * MIN_MEAN_ROWS_PER_CLASS <= len(
        values
    )
    return "classification" if few_values or distinct <= 2 else "regression"


def _class_target(
    series: "pd.Series[Any]", name: str, parsed: tuple[NDArray[np.float64], int] | None
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
        task="classification",
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
            f"class '{classes[rare_class]}' of target '{name}' has {counts[rare_class]} rows, and no second "
            f"class has the {MIN_ROWS_FOR_ALL_SPLITS} that training, validation and test need: add rows of it."
        )


def _regression_target(values: NDArray[np.float64], name: str, non_numeric: int) -> Target:
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
        task="regression",
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
