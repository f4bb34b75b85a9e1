"""What is said of a column of text: in one line, and for many columns together."""

from __future__ import annotations

import pandas as pd
from widthwise.objectives.data.columns.reading import (
    ColumnKind,
    ColumnReading,
    Remark,
    reading_notes,
)


def reading(name: str = "a", **changes: object) -> ColumnReading:
    options: dict[str, object] = {"kind": ColumnKind.NUMBER, "values": pd.Series([1.0, None])}
    return ColumnReading(name=name, **{**options, **changes})  # type: ignore[arg-type]


def test_a_reading_says_kind_format_and_gaps_in_one_line() -> None:
    plain = reading()
    assert plain.describe() == "number"
    told = reading(
        empty=3,
        missing_words={"?": 20, "-": 1},
        format="decimal commas",
        remarks=(Remark("merged", "'a' and 'b'"),),
    )
    assert told.gaps == 24
    assert told.describe() == (
        "number (decimal commas), 24 gaps (among them '?' (20), '-' (1)); merged ('a' and 'b')"
    )


def test_columns_of_one_format_share_a_note() -> None:
    readings = [reading(f"c{k}", format="decimal commas") for k in range(10)]
    assert reading_notes(readings) == (
        "read as numbers (decimal commas): 'c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7' "
        "and 2 more",
    )


def test_words_that_were_taken_as_gaps_are_named_with_their_columns_and_counts() -> None:
    notes = reading_notes([reading("a", missing_words={"?": 2}), reading("b"), reading("c")])
    assert notes == ("took these words as missing: 'a' '?' (2)",)


def test_a_column_without_anything_to_say_has_no_note() -> None:
    assert reading_notes([reading(empty=2)]) == ()


def test_what_does_not_show_is_told_as_an_escape() -> None:
    assert "'6.2\\x1a' (1)" in reading(missing_words={"6.2\x1a": 1}).describe()


def test_a_remark_names_every_column_of_which_it_is_true_with_its_values() -> None:
    readings = [reading(name, remarks=(Remark("merged", f"'{name}1'"),)) for name in "ab"]
    assert reading_notes(readings) == ("merged: 'a' ('a1'), 'b' ('b1')",)
