"""A table of named columns, one of them the target; columns of text get values.

Entry points: `read_table`, in two steps `read_values` and `take_target`; `as_floats` and `is_text`
tell what a column holds; `format_names` lists columns in messages and notes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, did_you_mean
from .columns.column import NO_CONVENTIONS, Conventions, read_columns
from .columns.objects import as_texts
from .columns.reading import ColumnReading, reading_notes
from .dataset import RawData

FloatArray = NDArray[np.float64]

MAX_FLOAT32 = float(np.finfo(np.float32).max)
"""Numbers beyond single precision are infinite to the network."""

_MAX_LISTED_COLUMNS = 30
"""Columns that a message lists at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueTable:
    """Columns with values.

    Attributes:
        name: Of the data, for people.
        source: The columns as they were given.
        values: Those of text as values, the others as they were.
        readings: What the columns of text were taken as.
        notes: On how the source was read.
        layout: How the file is laid out, for people: its encoding, its separator and so on.
    """

    name: str
    source: pd.DataFrame
    values: pd.DataFrame
    readings: tuple[ColumnReading, ...]
    notes: tuple[str, ...] = ()
    layout: Mapping[str, str] = field(default_factory=dict)


def read_table(
    name: str,
    table: pd.DataFrame,
    target: str | None,
    notes: Sequence[str] = (),
    *,
    missing: Sequence[str] = (),
    likely: Conventions = NO_CONVENTIONS,
) -> RawData:
    """Return a table's feature columns, those of text as values, and its target column.

    Args:
        name: Of the data, for people.
        table: Any columns; not changed.
        target: The column to predict.
        notes: On how the table was read.
        missing: Words that stand for a missing value in columns of text, besides the empty field.
        likely: How numbers and dates are likely written, for where no column tells.

    Raises:
        DataError: Two columns of one name, no such target, or no column beside it.
    """
    return take_target(read_values(name, table, notes, missing=missing, likely=likely), target)


def read_values(
    name: str,
    table: pd.DataFrame,
    notes: Sequence[str] = (),
    *,
    missing: Sequence[str] = (),
    likely: Conventions = NO_CONVENTIONS,
) -> ValueTable:
    """Return a table with values in its columns of text; the arguments are those of `read_table`.

    Raises:
        DataError: Two columns of one name.
    """
    table = table.set_axis([str(column) for column in table.columns], axis=1)
    table = table.reset_index(drop=True)
    columns = list(table.columns)
    duplicates = sorted({column for column in columns if columns.count(column) > 1})
    if duplicates:
        raise DataError(
            f"{name} has more than one column named {format_names(duplicates)}: rename them."
        )
    texts = {column: as_texts(table[column]) for column in columns}
    readings = read_columns(
        pd.DataFrame({column: text for column, text in texts.items() if text is not None}),
        missing,
        likely,
    )
    return ValueTable(
        name=name,
        source=table,
        values=_with_values(table, {reading.name: reading.values for reading in readings}),
        readings=tuple(readings),
        notes=tuple(notes),
    )


def _with_values(table: pd.DataFrame, values: Mapping[str, "pd.Series[Any]"]) -> pd.DataFrame:
    # Not `assign`, whose keywords cannot be called `self`.
    return pd.DataFrame(
        {name: values.get(str(name), column) for name, column in table.items()},
        index=table.index,
    )


def take_target(table: ValueTable, target: str | None) -> RawData:
    """Return the feature columns of a table, and its target as it was given.

    Raises:
        DataError: No such target, or no column beside it.
    """
    columns = list(table.values.columns)
    target = _require_target(table.name, target, columns)
    if len(columns) == 1:
        raise DataError(
            f"{table.name} has no column beside the target '{target}': add some to learn from."
        )
    features = [reading for reading in table.readings if reading.name != target]
    return RawData(
        name=table.name,
        inputs=table.values.drop(columns=[target]),
        target=table.source[target],
        target_name=target,
        notes=(*table.notes, *reading_notes(features)),
        readings=table.readings,
    )


def as_floats(column: "pd.Series[Any]") -> FloatArray | None:
    """Return a column of numbers or true/false as float64 with NaN for gaps; None for others."""
    is_number = pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column)
    if not is_number or pd.api.types.is_complex_dtype(column):
        return None
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def is_text(column: "pd.Series[Any]") -> bool:
    """Return whether a column may hold text."""
    return pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)


def format_names(names: list[str]) -> str:
    """Return names for people, cut off after eight."""
    listed = ", ".join(f"'{name}'" for name in names[:8])
    return listed if len(names) <= 8 else f"{listed} and {len(names) - 8} more"


def _require_target(name: str, target: str | None, columns: list[str]) -> str:
    if target in columns:
        return target
    hidden = len(columns) - _MAX_LISTED_COLUMNS
    available = f"its columns are {', '.join(map(repr, columns[:_MAX_LISTED_COLUMNS]))}" + (
        f" and {hidden} more" if hidden > 0 else ""
    )
    if target is None:
        raise DataError(f"{name} needs a target, the column to predict: {available}.")
    hint = did_you_mean(target, columns)
    raise DataError(f"{name} has no column '{target}'{f' ({hint})' if hint else ''}: {available}.")
