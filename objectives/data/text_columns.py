"""Columns of text as they stand in a file, turned into columns of values.

Entry point: `read_text_columns`.
"""

import io
import re
from collections.abc import Sequence

import pandas as pd

_DECIMAL_COMMA = re.compile(r"\s*-?\d+,\d+\s*")
_DECIMAL_POINT = re.compile(r"\s*-?\d+\.\d+\s*")


def read_text_columns(
    table: pd.DataFrame, missing: Sequence[str] = ()
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table of text with its columns as numbers where they are such, and notes.

    Args:
        table: Columns of str; an empty field is ''. Not changed.
        missing: Words that stand for a missing value, besides the empty field.
    """
    # The names are put back afterwards: pandas would rename two of one name.
    text = table.set_axis(range(table.shape[1]), axis=1)
    has_comma = [_has_decimal_commas(text[column]) for column in text]
    for column in text.columns[has_comma]:
        text[column] = text[column].str.replace(",", ".", regex=False)
    buffer = io.StringIO(text.to_csv(index=False, header=False, quoting=1))
    values = (
        pd.read_csv(buffer, header=None, na_values=list(missing), low_memory=False)
        if len(text)
        else text
    )
    return values.set_axis(table.columns, axis=1), (
        ("numbers are written with decimal commas",) if any(has_comma) else ()
    )


def _has_decimal_commas(column: "pd.Series[str]") -> bool:
    present = column[column != ""]
    return bool(present.str.fullmatch(_DECIMAL_COMMA).any()) and not bool(
        present.str.fullmatch(_DECIMAL_POINT).any()
    )
