"""The target column: classes or quantities, recognised and turned into numbers.

Text, true/false, categories and few distinct whole numbers are classes; fractions and many
distinct numbers are quantities. Rows without a target are dropped. The choice is said in a note,
and `task` overrules it.

Entry points: `read_target`, which makes a `Target`; `Target.divide` cuts it into splits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .columns import LARGEST, as_numbers, named
from .dataset import Task
from .split import EVERY_SPLIT, Partition, shuffled, stratified

FEWEST_ROWS = 20
"""Rows below which 20 % of them tell nothing."""

MOST_WHOLE_CLASSES = 20
"""Distinct whole numbers up to which they are classes."""

ROWS_PER_CLASS = 5
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
        kept: For each row of the file, whether it has a target.
        notes: Sentences on what was recognised.
    """

    name: str
    task: Task
    values: NDArray[Any]
    classes: tuple[str, ...] | None
    kept: NDArray[np.bool_]
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
            return stratified(self.values, seed)
        return shuffled(len(self.values), seed)

    def rare(self) -> tuple[str, ...]:
        """Say which classes have too few rows for every split of a partition, if any."""
        if self.classes is None:
            return ()
        counts = np.bincount(self.values, minlength=len(self.classes))
        few = [f"'{self.classes[k]}' ({counts[k]})" for k in np.flatnonzero(counts < EVERY_SPLIT)]
        words = (
            f"classes with fewer than {EVERY_SPLIT} rows are in the training split only, "
            f"validation and test cannot speak for them: {', '.join(few)}"
        )
        return (words,) if few else ()

    def divide(
        self, partition: Partition, *, scaled: bool = True
    ) -> tuple[list[Tensor], dict[str, tuple[float, ...]]]:
        """Return the targets of each split, and the scale that quantities were standardised by.

        The scale is the training split's: `target_mean` and `target_scale`, as `Data` has them.
        """
        parts = [self.values[rows] for rows in partition.parts]
        if self.task == "classification":
            return [torch.from_numpy(values) for values in parts], {}
        if not scaled:
            return [torch.from_numpy(values.astype(np.float32)) for values in parts], {}
        known = parts[0]
        mean, scale = known.mean(axis=0), known.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        splits = [
            torch.from_numpy(((values - mean) / scale).astype(np.float32)) for values in parts
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
        return _quantities(column.reshape(len(column), -1).astype(np.float64), name, 0)
    series: pd.Series[Any] = pd.Series(column)
    read = as_numbers(series)
    if read is None and pd.api.types.is_datetime64_any_dtype(series):
        raise DataError(f"target '{name}' holds dates: choose a column of classes or numbers.")
    if task is None:
        task = _recognise(series, read)
    if task == "classification":
        return _classes(series, name, read)
    if read is None:
        examples = ", ".join(repr(value) for value in series.dropna().unique()[:3])
        raise DataError(
            f"target '{name}' holds text ({examples}), a regression needs numbers: choose "
            "another target, or task 'classification'."
        )
    return _quantities(read[0], name, read[1])


def _recognise(series: "pd.Series[Any]", read: tuple[NDArray[np.float64], int] | None) -> Task:
    if read is None or pd.api.types.is_bool_dtype(series):
        return "classification"
    values = read[0][np.isfinite(read[0])]
    if not np.array_equal(values, np.round(values)):
        return "regression"
    distinct = len(np.unique(values))
    few = distinct <= MOST_WHOLE_CLASSES and distinct * ROWS_PER_CLASS <= len(values)
    return "classification" if few or distinct <= 2 else "regression"


def _classes(
    series: "pd.Series[Any]", name: str, read: tuple[NDArray[np.float64], int] | None
) -> Target:
    if read is None or read[1] or pd.api.types.is_bool_dtype(series):
        # Text among numbers is a class of its own, not a gap: '0', '1' and 'rare' are three.
        kept = series.notna().to_numpy()
        labels, values = np.unique(series[kept].astype(str).to_numpy(str), return_inverse=True)
        classes = tuple(labels.tolist())
    else:
        kept = np.isfinite(read[0])
        numbers, values = np.unique(read[0][kept], return_inverse=True)
        classes = tuple(f"{number:.15g}" for number in numbers)
    note = f"target '{name}': classification with {len(classes)} classes"
    counts = np.bincount(values, minlength=len(classes))
    _require_classes(name, classes, counts)
    return Target(
        name=name,
        task="classification",
        values=values.astype(np.int64),
        classes=classes,
        kept=kept,
        notes=(*_dropped(name, kept), note),
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
    if (counts >= EVERY_SPLIT).sum() < 2:
        rare = int(counts.argsort()[-2])
        raise DataError(
            f"class '{classes[rare]}' of target '{name}' has {counts[rare]} rows, and no second "
            f"class has the {EVERY_SPLIT} that training, validation and test need: add rows of it."
        )


def _quantities(values: NDArray[np.float64], name: str, strays: int) -> Target:
    by_row = values.reshape(len(values), -1)
    kept: NDArray[np.bool_] = np.all(np.abs(by_row) <= LARGEST, axis=1)  # False for NaN, too
    values = values[kept]
    _require_rows(name, len(values))
    if (values == values[0]).all():
        raise DataError(
            f"target '{name}' is {values.flat[0]:g} in all {len(values)} rows: there is nothing "
            "to predict; choose another target."
        )
    columns = "" if values.ndim == 1 else f" with {values.shape[1]} target columns"
    note = f"target '{name}': regression{columns}, values from {values.min():g} to {values.max():g}"
    odd = [f"{strays} values of target '{name}' are no numbers"] if strays else []
    return Target(
        name=name,
        task="regression",
        values=values,
        classes=None,
        kept=kept,
        notes=(*odd, *_dropped(name, kept), note),
    )


def _require_rows(name: str, rows: int) -> None:
    if rows < FEWEST_ROWS:
        raise DataError(
            f"there are {rows} rows with a target '{name}', at least {FEWEST_ROWS} are needed: "
            "add rows."
        )


def _dropped(name: str, kept: NDArray[np.bool_]) -> list[str]:
    lost = int((~kept).sum())
    return [f"dropped {lost} rows without a target {named([name])}"] if lost else []
