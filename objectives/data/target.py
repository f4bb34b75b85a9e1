"""The target column: classes or quantities, recognised and turned into numbers.

Text, true/false, categories and few distinct whole numbers are classes; fractions and many
distinct numbers are quantities. Rows without a target are dropped. A note tells the user what was
recognised, and `task` overrules it. Words among numbers: see `text_target`.

Entry points: `recognise_target` makes a `Target`; `encode_target` gives the tensors of each split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .columns.column import read_column
from .columns.objects import as_texts
from .columns.reading import MAX_LISTED, ColumnReading, Remark, format_counts
from .dataset import Task
from .split import MIN_ROWS_FOR_ALL_SPLITS, Partition
from .table import MAX_FLOAT32, FloatArray, as_floats, format_names
from .text_target import TextTarget, read_text_target

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
        given: The numbers as they were given, in their own type, of the rows that have one; None
            where there were none, but text.
        class_values: The numbers that stand for the classes in `given`; empty where these are
            the class numbers.
        one_hot: Whether `given` has the classes along axis 1.
        output_count: Numbers to predict for a sample; None for one a class, or a target column.
    """

    name: str
    task: Task
    values: NDArray[Any]
    classes: tuple[str, ...] | None
    has_target: NDArray[np.bool_]
    notes: tuple[str, ...]
    given: NDArray[Any] | None = None
    class_values: tuple[float, ...] = ()
    one_hot: bool = False
    output_count: int | None = None

    @property
    def outputs(self) -> int:
        """Numbers to predict for a sample: classes, labels, or target columns."""
        if self.output_count is not None:
            return self.output_count
        return prod(self.values.shape[1:]) if self.classes is None else len(self.classes)


class EncodedTarget(NamedTuple):
    """The targets of each split, and the scale that quantities were standardised by.

    Attributes:
        splits: Class numbers (int64) or quantities (float32) of training, validation and test; or
            the numbers as given.
        mean: Of each target column in the training split, or of all numbers where there are more
            axes; empty where nothing was standardised.
        scale: Standard deviation of each, likewise.
    """

    splits: list[Tensor]
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


def recognise_target(
    column: "pd.Series[Any] | NDArray[Any]",
    name: str,
    task: Task | None = None,
    reading: ColumnReading | None = None,
) -> Target:
    """Recognise a target.

    Args:
        column: One value a row; more are for `arrays.labels`.
        name: For people.
        task: Overrules what would be recognised.
        reading: What a column of text was taken as; it is read here where it was not before.

    Raises:
        DataError: Too few rows, one class only, or nothing that can be predicted.
    """
    series: pd.Series[Any] = pd.Series(column)
    texts = as_texts(series)
    if texts is not None:
        return _recognise_text(
            read_text_target(texts, reading or read_column(texts, name)), name, task
        )
    if pd.api.types.is_datetime64_any_dtype(series):
        raise DataError(f"target '{name}' holds dates: choose a column of classes or numbers.")
    is_flag = pd.api.types.is_bool_dtype(series)
    numbers = as_floats(series)
    task = task or _recognise_task(None if is_flag else numbers)
    if task == Task.REGRESSION:
        if numbers is None:
            raise _no_numbers(name, series)
        return regression_target(numbers, name)
    if numbers is None or is_flag:
        return _class_target(name, _text_classes(series))
    return _class_target(name, _number_classes(numbers))


def encode_target(target: Target, partition: Partition, *, as_given: bool = False) -> EncodedTarget:
    """Return the targets of each split as tensors: class numbers, or standardised quantities.

    Args:
        target: Classes stay the numbers they are.
        partition: Of the target's rows.
        as_given: Whether a loss of the user's own gets the numbers as they were given: nothing is
            numbered or standardised. Whole numbers become int64, fractions float32. Text, which
            no loss takes, is numbered all the same.
    """
    given = target.given if as_given else None
    values_by_split = [
        (target.values if given is None else given)[rows] for rows in partition.splits
    ]
    if given is not None or target.task == Task.CLASSIFICATION:
        return EncodedTarget([_as_tensor(values) for values in values_by_split])
    train_values = values_by_split[0]
    axis = 0 if train_values.ndim <= 2 else None
    mean = train_values.mean(axis=axis)
    # The square of a very small number is 0: first brought to a largest deviation of 1.
    spread = np.abs(train_values - mean).max(axis=axis)
    spread = np.where(spread > 0, spread, 1.0)
    scale = spread * ((train_values - mean) / spread).std(axis=axis)
    scale = np.where(scale > 0, scale, 1.0)
    return EncodedTarget(
        [
            torch.from_numpy(((values - mean) / scale).astype(np.float32))
            for values in values_by_split
        ],
        mean=tuple(np.atleast_1d(mean).tolist()),
        scale=tuple(np.atleast_1d(scale).tolist()),
    )


def _as_tensor(values: NDArray[Any]) -> Tensor:
    """Return numbers as torch's losses take them: int64, float32, or true and false."""
    dtype = {"b": np.bool_, "i": np.int64, "u": np.int64}.get(values.dtype.kind, np.float32)
    return torch.from_numpy(values.astype(dtype))


class _Classes(NamedTuple):
    """Class numbers of the rows that have one, class names, and which rows have one."""

    values: NDArray[np.int64]
    names: tuple[str, ...]
    has_target: NDArray[np.bool_]


def _recognise_text(text: TextTarget, name: str, task: Task | None) -> Target:
    if task != Task.CLASSIFICATION:
        text.require_no_dates()
    numbers = text.numbers
    task = task or _recognise_task(numbers)
    if task == Task.REGRESSION:
        if numbers is None and (numbers := text.code_numbers) is None:
            raise _no_numbers(name, text.texts, text.reading.remarks)
        text.require_few_odd_words()
        target = regression_target(numbers, name)
        return replace(target, notes=(*text.notes(task, {}), *target.notes))
    if numbers is None or text.words_are_classes:
        classes = _text_classes(text.labels)
    else:
        classes = _number_classes(numbers, text.number_names)
    target = _class_target(name, classes, text.reading.remarks)
    return replace(target, notes=(*text.notes(task, _class_rows(classes)), *target.notes))


def _no_numbers(name: str, values: "pd.Series[Any]", remarks: Sequence[Remark] = ()) -> DataError:
    examples = ", ".join(repr(value) for value in values.dropna().unique()[:3])
    return DataError(
        f"target '{name}' holds text ({'; '.join((examples, *map(str, remarks)))}), a regression "
        "needs numbers: choose another target, or task 'classification'."
    )


def _recognise_task(numbers: FloatArray | None) -> Task:
    if numbers is None:
        return Task.CLASSIFICATION
    values = numbers[np.isfinite(numbers)]
    if not np.array_equal(values, np.round(values)):
        return Task.REGRESSION
    distinct = len(np.unique(values))
    few_values = distinct <= MAX_INTEGER_CLASSES and distinct * MIN_MEAN_ROWS_PER_CLASS <= len(
        values
    )
    return Task.CLASSIFICATION if few_values or distinct <= 2 else Task.REGRESSION


def _text_classes(labels: "pd.Series[Any]") -> _Classes:
    has_target = labels.notna().to_numpy(dtype=bool)
    names, values = np.unique(labels[has_target].astype(str).to_numpy(str), return_inverse=True)
    return _Classes(values.astype(np.int64), tuple(names.tolist()), has_target)


def _number_classes(numbers: FloatArray, number_names: Mapping[float, str] = {}) -> _Classes:
    has_target = np.isfinite(numbers)
    distinct, values = np.unique(numbers[has_target], return_inverse=True)
    names = tuple(number_names.get(number, f"{number:.15g}") for number in distinct.tolist())
    return _Classes(values.astype(np.int64), names, has_target)


def _class_rows(classes: _Classes) -> dict[str, int]:
    counts = np.bincount(classes.values, minlength=len(classes.names))
    return dict(zip(classes.names, counts.tolist(), strict=True))


def _class_target(name: str, classes: _Classes, remarks: Sequence[Remark] = ()) -> Target:
    rows = _class_rows(classes)
    _require_classes(name, classes.names, np.array(list(rows.values())), remarks)
    commonest = dict(sorted(rows.items(), key=lambda item: -item[1]))
    listed = format_counts(rows if len(rows) <= MAX_LISTED else commonest)
    return Target(
        name=name,
        task=Task.CLASSIFICATION,
        values=classes.values,
        classes=classes.names,
        has_target=classes.has_target,
        notes=(
            *_dropped_rows_notes(name, classes.has_target),
            f"target '{name}': classification with {len(rows)} classes: {listed}",
        ),
    )


def _require_classes(
    name: str, classes: tuple[str, ...], counts: NDArray[np.int64], remarks: Sequence[Remark]
) -> None:
    rows = int(counts.sum())
    require_rows(name, rows)
    if len(classes) == 1:
        raise DataError(
            f"target '{name}' has one class only, '{classes[0]}', in all {rows} rows: at least "
            "two are needed; choose another target."
        )
    if 2 * len(classes) > rows:
        reasons = f" ({'; '.join(map(str, remarks))})" if remarks else ""
        raise DataError(
            f"target '{name}' has {len(classes)} different values in {rows} rows{reasons}: these "
            "are names rather than classes; choose another target."
        )
    if (counts >= MIN_ROWS_FOR_ALL_SPLITS).sum() < 2:
        rare_class = int(counts.argsort()[-2])
        raise DataError(
            f"class '{classes[rare_class]}' of target '{name}' has {counts[rare_class]} rows, and "
            f"no second class has the {MIN_ROWS_FOR_ALL_SPLITS} that training, validation and test "
            "need: add rows of it."
        )


def regression_target(values: FloatArray, name: str) -> Target:
    """Recognise quantities; a row of which one is missing or infinite has no target.

    Args:
        values: `[n]`, or `[n, ...]` for several a row.
        name: For people.

    Raises:
        DataError: Too few rows, or nothing to predict.
    """
    by_row = values.reshape(len(values), -1)
    has_target: NDArray[np.bool_] = np.all(
        np.abs(by_row) <= MAX_FLOAT32, axis=1
    )  # False for NaN, too
    too_large = int((np.isfinite(by_row) & (np.abs(by_row) > MAX_FLOAT32)).any(axis=1).sum())
    size_notes = []
    if too_large:
        size_notes = [
            f"target '{name}' is beyond ±{MAX_FLOAT32:.2g} in {too_large} of {len(values)} rows, "
            "more than float32 holds: give it in a larger unit, or its logarithm"
        ]
        if has_target.sum() < MIN_ROWS:
            raise DataError(f"{size_notes[0]}.")
    values = values[has_target]
    require_rows(name, len(values))
    if (values == values[0]).all():
        raise DataError(
            f"target '{name}' is {values.flat[0]:g} in all {len(values)} rows: there is nothing "
            "to predict; choose another target."
        )
    columns = ""
    if values.ndim == 2:
        columns = f" with {values.shape[1]} target columns"
    elif values.ndim > 2:
        columns = f" of {list(values.shape[1:])} numbers a row"
    note = f"target '{name}': regression{columns}, values from {values.min():g} to {values.max():g}"
    return Target(
        name=name,
        task=Task.REGRESSION,
        values=values,
        classes=None,
        has_target=has_target,
        notes=(*size_notes, *_dropped_rows_notes(name, has_target), note),
    )


def require_rows(name: str, rows: int) -> None:
    """Check that there are rows enough to be divided; raises DataError."""
    if rows < MIN_ROWS:
        raise DataError(
            f"there are {rows} rows with a target '{name}', at least {MIN_ROWS} are needed: "
            "add rows."
        )


def _dropped_rows_notes(name: str, has_target: NDArray[np.bool_]) -> list[str]:
    dropped_count = int((~has_target).sum())
    return (
        [
            f"dropped {dropped_count} row{'' if dropped_count == 1 else 's'} without a target "
            f"{format_names([name])}"
        ]
        if dropped_count
        else []
    )
