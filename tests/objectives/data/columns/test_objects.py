"""Columns of Python objects, as text."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from widthwise.objectives.data.columns.column import read_column
from widthwise.objectives.data.columns.objects import as_texts


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([Decimal("1.50"), None, Decimal(2)], "number"),
        ([1, "2", 3.5], "number"),
        ([date(2020, 2, 1), None, date(2021, 3, 4)], "date"),
        ([True, None, False], "true/false"),
        (["a", np.nan, "b"], "text"),
        (["a", "\ud800", "b"], "text"),
    ],
    ids=["decimals", "mixed", "dates", "flags", "words", "half a character"],
)
def test_objects_are_read_as_they_are_written(values: list[Any], kind: str) -> None:
    texts = as_texts(pd.Series(values, dtype=object))
    assert texts is not None
    assert read_column(texts, "a").kind == kind
    assert texts.isna().sum() == sum(value is None or value != value for value in values)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1.5, 2.5]),
        pd.Series(pd.date_range("2020-01-01", periods=2)),
        pd.Series(["a", "b"], dtype="category"),
        pd.Series([[1], [2]]),
        pd.Series([b"a", b"b"], dtype=object),
    ],
    ids=["numbers", "dates", "categories", "lists", "bytes"],
)
def test_a_column_with_a_type_of_its_own_is_no_text(column: pd.Series[Any]) -> None:
    assert as_texts(column) is None
