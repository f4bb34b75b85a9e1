"""A column of text, taken as numbers, dates, true/false or words.

Entry points: `read_column` for one column, `read_columns` for a table of them.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from .reading import ColumnKind, ColumnReading


def read_columns(table: pd.DataFrame, missing: Sequence[str] = ()) -> list[ColumnReading]:
    """Return what each column of a table of text is taken as, in the table's order.

    Args:
        table: Columns of str; an empty field is ''. Not changed.
        missing: Words that stand for a missing value, besides the empty field.
    """
    return [
        read_column(table.iloc[:, position], str(name), missing)
        for position, name in enumerate(table.columns)
    ]


def read_column(column: "pd.Series[Any]", name: str, missing: Sequence[str] = ()) -> ColumnReading:
    """Return what a column of text is taken as.

    Args:
        column: Of str, one value a row; an empty field is '' or NaN. Not changed.
        name: For people.
        missing: Words that stand for a missing value, besides the empty field.
    """
    texts = column.astype("str").str.strip()
    texts = texts.mask(texts.isin(["", *missing]))
    empty = int(texts.isna().sum())
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
    if empty < len(texts) and int(numbers.isna().sum()) == empty:
        return ColumnReading(name=name, kind=ColumnKind.NUMBER, values=numbers, empty=empty)
    return ColumnReading(name=name, kind=ColumnKind.TEXT, values=texts, empty=empty)
