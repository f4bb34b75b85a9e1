"""Feature columns of a table: what each one is, and the numbers that a network gets from it.

| column | becomes |
|---|---|
| numbers | themselves, standardised; gaps filled with the median, and an indicator of the gap |
| true / false | 0 and 1, likewise |
| dates | days since the earliest, month, weekday and, where given, hour; likewise |
| text, categories | one 0/1 feature a value (rare ones share one); a gap is a value of its own |
| constant, nearly unique text, anything else | dropped |

Columns of text have become values before (`columns/`), by all rows. What is constant, and every
median, scale and category, is learnt from the training rows alone.

Entry point: `encode_columns`.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from .columns.objects import UNSUPPORTED
from .split import Indices, Partition
from .table import MAX_FLOAT32, FloatArray, as_floats, format_names

MAX_CATEGORIES = 32
"""Features that one text column becomes at most; its rarer values share the last one."""

NEARLY_UNIQUE_RATIO = 0.5
"""Distinct values per row from which a text column names rows instead of grouping them."""

MAX_GROUPING_VALUES = 10
"""Distinct values up to which a text column is never called nearly unique."""

MAX_STANDARDISED = 1e6
"""Standard deviations at which standardised values are cut off, to stay in single precision."""

MISSING_CATEGORY = "(missing)"


@dataclass(kw_only=True, eq=False)
class _Features:
    """Columns of numbers and of text that become features, and notes with the columns they name."""

    numbers: dict[str, FloatArray] = field(default_factory=dict)
    texts: dict[str, NDArray[np.object_]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def encode_columns(
    table: pd.DataFrame, partition: Partition
) -> tuple[list[Tensor], tuple[str, ...]]:
    """Return the features of each split, `rows x features`, and notes on what became of columns.

    Args:
        table: Feature columns only, one row for each row that the partition counts.
        partition: Which rows may be learnt from.
    """
    features = _Features()
    for name, column in table.items():
        _classify_column(features, str(name), column, partition.train)
    blocks = [_encode_numbers(features, partition), _encode_texts(features, partition)]
    splits = [
        torch.from_numpy(
            np.hstack([np.zeros((len(rows), 0), np.float32), *row_blocks], dtype=np.float32)
        )
        for rows, *row_blocks in zip(partition.splits, *filter(None, blocks), strict=True)
    ]
    return splits, tuple(
        f"{note}: {format_names(names)}" for note, names in sorted(features.notes.items())
    )


def date_parts(timestamps: "pd.Series[Any]", rows: Indices) -> dict[str, FloatArray]:
    """Return days since the earliest training row, month, weekday and hour, as far as they vary.

    Args:
        timestamps: All rows.
        rows: The training rows.
    """
    start = timestamps.iloc[rows].min()
    parts = {
        "days": (timestamps - start) / pd.Timedelta(days=1),
        "month": timestamps.dt.month,
        "weekday": timestamps.dt.day_of_week,
        "hour": timestamps.dt.hour + timestamps.dt.minute / 60,
    }
    numbers = {
        name: values.to_numpy(dtype=np.float64, na_value=np.nan) for name, values in parts.items()
    }
    # A constant part (the hour of plain dates) is left out without a note.
    return {name: values for name, values in numbers.items() if np.unique(values[rows]).size > 1}


def _classify_column(
    features: _Features, name: str, column: "pd.Series[Any]", rows: Indices
) -> None:
    train_values = column.iloc[rows]
    if _is_unsupported(train_values):
        features.notes["dropped columns that hold neither numbers, text nor dates"].append(name)
    elif (durations := _as_seconds(column)) is not None:
        _add_number(features, name, durations, rows)
    elif (numbers := as_floats(column)) is not None:
        _add_number(features, name, numbers, rows)
    elif pd.api.types.is_datetime64_any_dtype(column):
        features.notes["turned dates into day, month and weekday"].append(name)
        for date_part, values in date_parts(pd.to_datetime(column, utc=True), rows).items():
            _add_number(features, f"{name} {date_part}", values, rows)
    else:
        _add_text(features, name, column, train_values)


def _add_number(features: _Features, name: str, values: FloatArray, rows: Indices) -> None:
    out_of_range = np.abs(values) > MAX_FLOAT32
    if out_of_range.any():
        values = np.where(out_of_range, np.nan, values)
        features.notes["took infinite values as missing"].append(name)
    train_values = values[rows]
    missing = np.isnan(train_values)
    present = train_values[~missing]
    if present.size == 0 or ((present == present[0]).all() and not missing.any()):
        features.notes["dropped constant columns"].append(name)
    else:
        if missing.any():
            features.notes["filled gaps with the median, and marked them, in"].append(name)
        features.numbers[name] = values


def _add_text(
    features: _Features, name: str, column: "pd.Series[Any]", train_values: "pd.Series[Any]"
) -> None:
    texts = np.where(column.isna(), MISSING_CATEGORY, column.astype(str)).astype(object)
    values = np.where(train_values.isna(), MISSING_CATEGORY, train_values.astype(str)).astype(
        object
    )
    distinct = len(set(values))
    if distinct == 1:
        features.notes["dropped constant columns"].append(name)
    elif distinct > MAX_GROUPING_VALUES and distinct > NEARLY_UNIQUE_RATIO * len(values):
        features.notes["dropped nearly unique text (names or free text)"].append(name)
    else:
        limit_note = "" if distinct <= MAX_CATEGORIES else f" (the commonest {MAX_CATEGORIES - 1})"
        features.notes[f"turned text into one 0/1 feature a value{limit_note}"].append(name)
        features.texts[name] = texts


def _encode_numbers(features: _Features, partition: Partition) -> list[NDArray[np.float32]] | None:
    if not features.numbers:
        return None
    # scikit-learn takes a second to load; data from a user's function does without it.
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    matrix = np.column_stack(list(features.numbers.values()))
    pipeline = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    pipeline.fit(matrix[partition.train])
    return [
        np.clip(pipeline.transform(matrix[rows]), -MAX_STANDARDISED, MAX_STANDARDISED).astype(
            np.float32
        )
        for rows in partition.splits
    ]


def _encode_texts(features: _Features, partition: Partition) -> list[NDArray[np.float32]] | None:
    if not features.texts:
        return None
    from sklearn.preprocessing import OneHotEncoder

    matrix = np.column_stack(list(features.texts.values()))
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MAX_CATEGORIES,
        sparse_output=False,
        dtype=np.float32,
    )
    encoder.fit(matrix[partition.train])
    return [encoder.transform(matrix[rows]) for rows in partition.splits]


def _is_unsupported(train_values: "pd.Series[Any]") -> bool:
    if pd.api.types.is_complex_dtype(train_values):
        return True
    return bool(pd.api.types.is_object_dtype(train_values)) and any(
        isinstance(value, UNSUPPORTED) for value in train_values
    )


def _as_seconds(column: "pd.Series[Any]") -> FloatArray | None:
    if not pd.api.types.is_timedelta64_dtype(column):
        return None
    seconds: FloatArray = column.dt.total_seconds().to_numpy(dtype=np.float64, na_value=np.nan)
    return seconds
