"""Dates in a table: recognised in text too, and turned into numbers that a network can use.

Entry points: `read_dates`, `date_parts`.
"""

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd

from .split import Indices
from .table import MIN_PARSED_FRACTION, FloatArray, is_text

DATE_FORMATS = ("ISO8601", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d %b %Y")
"""Tried in this order; where several read a column equally well, the first is taken."""

_DATE_LIKE = re.compile(r"\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3})[-/. ]\d{1,4}")


def read_dates(
    column: "pd.Series[Any]", train_values: "pd.Series[Any]"
) -> tuple["pd.Series[Any]", str] | None:
    """Return a column as timestamps, and how they were read; None when it holds no dates.

    Args:
        column: All rows.
        train_values: The training rows, which alone decide.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.to_datetime(column, utc=True), "dates in the file"
    if not is_text(column) or isinstance(column.dtype, pd.CategoricalDtype):
        return None
    present = train_values.dropna().astype(str).str.strip()
    if present.empty or present.str.match(_DATE_LIKE).mean() < MIN_PARSED_FRACTION:
        return None
    parsed_fractions = {
        date_format: _parse_dates(present, date_format).notna().mean()
        for date_format in DATE_FORMATS
    }
    best = max(DATE_FORMATS, key=lambda date_format: parsed_fractions[date_format])
    if parsed_fractions[best] < MIN_PARSED_FRACTION:
        return None
    return _parse_dates(column.astype(str).str.strip(), best), f"read as {best}"


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


def _parse_dates(column: "pd.Series[Any]", date_format: str) -> "pd.Series[Any]":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mixed time zones: `utc` makes them one
        return pd.to_datetime(column, errors="coerce", format=date_format, utc=True)
