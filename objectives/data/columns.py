"""Feature columns of a table: what each one is, and the numbers that a network gets from it.

| column | becomes |
|---|---|
| numbers | themselves, standardised; gaps filled with the median, and an indicator of the gap |
| true / false | 0 and 1, likewise |
| dates | days since the earliest, month, weekday and, where given, hour; likewise |
| text, categories | one 0/1 feature a value (rare ones share one); a gap is a value of its own |
| constant, row numbers, nearly unique text, anything else | dropped |

What a column is, and every median, scale and category, is decided from the training rows alone.

Entry point: `encode`.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .dates import MOSTLY, Numbers, date_parts, is_text, read_dates
from .split import Indices, Partition

MOST_CATEGORIES = 32
"""Features that one text column becomes at most; its rarer values share the last one."""

NEARLY_UNIQUE = 0.5
"""Distinct values per row from which a text column names rows instead of grouping them."""

FEW_NAMES = 10
"""Distinct values up to which a text column is never called nearly unique."""

LARGEST = float(np.finfo(np.float32).max)
"""Numbers beyond single precision are infinite to the network."""

FARTHEST = 1e6
"""Standard deviations at which standardised values are cut off, to stay in single precision."""

GAP = "(missing)"


@dataclass(kw_only=True, eq=False)
class _Features:
    """Columns on their way to features, and what is to be said about them."""

    numbers: dict[str, Numbers] = field(default_factory=dict)
    texts: dict[str, NDArray[np.object_]] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def encode(
    table: pd.DataFrame, partition: Partition
) -> tuple[list[NDArray[np.float32]], tuple[str, ...]]:
    """Return the features of each split, `rows x features`, and notes on how they came about.

    Args:
        table: Feature columns only, one row for each row that the partition counts.
        partition: Which rows may be learnt from.
    """
    features = _Features()
    for name, column in table.items():
        _sort_in(features, str(name), column, partition.train)
    blocks = [_numbers(features, partition), _texts(features, partition)]
    splits = [
        np.hstack([np.zeros((len(rows), 0), np.float32), *parts], dtype=np.float32)
        for rows, *parts in zip(partition.parts, *filter(None, blocks), strict=True)
    ]
    return splits, tuple(
        f"{words}: {named(names)}" for words, names in sorted(features.said.items())
    )


def as_numbers(column: "pd.Series[Any]") -> tuple[Numbers, int] | None:
    """Return a column as float64 with NaN for gaps, and how many of its values are no numbers.

    Returns None when the column holds something else: dates, or mostly text.
    """
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        if pd.api.types.is_complex_dtype(column):
            return None
        return column.to_numpy(dtype=np.float64, na_value=np.nan), 0
    if isinstance(column.dtype, pd.CategoricalDtype) or not is_text(column):
        return None
    read = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    present = column.notna().to_numpy()
    strays = int((present & np.isnan(read)).sum())
    return (read, strays) if strays <= (1 - MOSTLY) * present.sum() and present.any() else None


def named(names: list[str]) -> str:
    """Return names for people, cut off after eight."""
    shown = ", ".join(f"'{name}'" for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _sort_in(features: _Features, name: str, column: "pd.Series[Any]", rows: Indices) -> None:
    known = column.iloc[rows]
    if _unusable(known):
        features.said["dropped columns that hold neither numbers, text nor dates"].append(name)
    elif (spans := _timedelta(column)) is not None:
        _add_number(features, name, spans, rows)
    elif as_numbers(known) is not None:
        values = _all_numbers(column)
        if (np.isnan(values) & column.notna().to_numpy()).any():
            features.said["took the odd text in columns of numbers as missing"].append(name)
        _add_number(features, name, values, rows)
    elif (dates := read_dates(column, known)) is not None:
        moments, how = dates
        features.said[f"turned dates into day, month and weekday ({how})"].append(name)
        for part, values in date_parts(moments, rows).items():
            _add_number(features, f"{name} {part}", values, rows)
    else:
        _add_text(features, name, column, known)


def _add_number(features: _Features, name: str, values: Numbers, rows: Indices) -> None:
    beyond = np.abs(values) > LARGEST
    if beyond.any():
        values = np.where(beyond, np.nan, values)
        features.said["took infinite values as missing"].append(name)
    known = values[rows]
    missing = np.isnan(known)
    present = known[~missing]
    if present.size == 0 or ((present == present[0]).all() and not missing.any()):
        features.said["dropped constant columns"].append(name)
    elif not missing.any() and np.ptp(known - rows) == 0:
        features.said["dropped columns that only number the rows"].append(name)
    else:
        if missing.any():
            features.said["filled gaps with the median, and marked them, in"].append(name)
        features.numbers[name] = values


def _add_text(
    features: _Features, name: str, column: "pd.Series[Any]", known: "pd.Series[Any]"
) -> None:
    texts = np.where(column.isna(), GAP, column.astype(str)).astype(object)
    values = np.where(known.isna(), GAP, known.astype(str)).astype(object)
    distinct = len(set(values))
    if distinct == 1:
        features.said["dropped constant columns"].append(name)
    elif distinct > FEW_NAMES and distinct > NEARLY_UNIQUE * len(values):
        features.said["dropped nearly unique text (names or free text)"].append(name)
    else:
        kept = "" if distinct <= MOST_CATEGORIES else f" (the commonest {MOST_CATEGORIES - 1})"
        features.said[f"turned text into one 0/1 feature a value{kept}"].append(name)
        features.texts[name] = texts


def _numbers(features: _Features, partition: Partition) -> list[NDArray[np.float32]] | None:
    if not features.numbers:
        return None
    matrix = np.column_stack(list(features.numbers.values()))
    pipeline = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    pipeline.fit(matrix[partition.train])
    return [
        np.clip(pipeline.transform(matrix[rows]), -FARTHEST, FARTHEST).astype(np.float32)
        for rows in partition.parts
    ]


def _texts(features: _Features, partition: Partition) -> list[NDArray[np.float32]] | None:
    if not features.texts:
        return None
    matrix = np.column_stack(list(features.texts.values()))
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MOST_CATEGORIES,
        sparse_output=False,
        dtype=np.float32,
    )
    encoder.fit(matrix[partition.train])
    return [encoder.transform(matrix[rows]) for rows in partition.parts]


def _unusable(known: "pd.Series[Any]") -> bool:
    if pd.api.types.is_complex_dtype(known):
        return True
    odd = (bytes, list, tuple, dict, set, np.ndarray)
    return bool(pd.api.types.is_object_dtype(known)) and any(
        isinstance(value, odd) for value in known
    )


def _timedelta(column: "pd.Series[Any]") -> Numbers | None:
    if not pd.api.types.is_timedelta64_dtype(column):
        return None
    seconds: Numbers = column.dt.total_seconds().to_numpy(dtype=np.float64, na_value=np.nan)
    return seconds


def _all_numbers(column: "pd.Series[Any]") -> Numbers:
    """Read the whole of a column that its training rows show to be numbers."""
    if is_text(column):
        column = pd.to_numeric(column, errors="coerce")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
