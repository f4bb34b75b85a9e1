"""Columns of Python objects, from functions, Parquet files and archives, as text.

Entry point: `as_texts`.
"""

from typing import Any

import numpy as np
import pandas as pd

UNSUPPORTED = (bytes, bytearray, list, tuple, dict, set, complex, np.ndarray)
"""Types that are neither numbers, dates nor words."""


def as_texts(column: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """Return a column of objects as text, with NaN for gaps; None where it has a type of its own.

    Args:
        column: Of text, or of objects such as `Decimal`, `date`, or numbers among words.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return None
    if not pd.api.types.is_object_dtype(column):
        return column.astype("str") if pd.api.types.is_string_dtype(column) else None
    types = set(map(type, column.dropna()))
    if any(issubclass(kind, UNSUPPORTED) for kind in types):
        return None
    texts = column if types <= {str} else column.map(str, na_action="ignore")
    try:
        return texts.astype("str")
    except UnicodeEncodeError:  # half of a character beyond 16 bits
        readable = texts.map(
            lambda text: text.encode("utf-8", "replace").decode(), na_action="ignore"
        )
        return readable.astype("str")
