"""Bodies: rows as wide as the names; what is none of them is left out and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from widthwise.objectives.data.files.csv_file import TextTable, read_csv
from widthwise.objectives.errors import DataError

ROWS = [f"{k}.5,{k * k % 7},{'ab'[k % 2]}" for k in range(1, 13)]


def read(folder: Path, *lines: str, end: str = "\n") -> TextTable:
    path = folder / "rows.csv"
    path.write_bytes(end.join([*lines, ""]).encode())
    return read_csv(path)


LEFT_OUT = {
    "headers": ("x,n,label", "dropped 2 lines that repeat the column names"),
    "headers with blanks": ("x, n ,label", "dropped 2 lines that repeat the column names"),
    "headers with a mark": ("\ufeffx,n,label", "dropped 2 lines that repeat the column names"),
    "headers with an end": ("x,n,label,", "dropped 2 lines that repeat the column names"),
    "empty rows": (",,", "dropped 2 rows without a value"),
    "blank rows": (" , ,", "dropped 2 rows without a value"),
    "comments": ("# a comment", "dropped 2 comment lines"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_no_row_is_left_out_and_said(case: str, tmp_path: Path) -> None:
    line, says = LEFT_OUT[case]
    text = read(tmp_path, "x,n,label", *ROWS[:5], line, "", *ROWS[5:], line)
    assert text.notes == (says,)
    assert [",".join(row) for row in text.table.itertuples(index=False)] == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_do(end: str, tmp_path: Path) -> None:
    assert read(tmp_path, "x,n,label", *ROWS, end=end).table["label"].tolist() == ["b", "a"] * 6


def test_rows_that_end_early_have_gaps(tmp_path: Path) -> None:
    text = read(tmp_path, "x,n,label", *ROWS, "7,8", "9")
    assert text.table.iloc[-2:].to_numpy().tolist() == [["7", "8", ""], ["9", "", ""]]
    assert (
        "in 2 rows the last fields are gaps, since they end early (the first is line 14)"
        in text.notes[0]
    )


def test_separators_at_the_end_of_a_row_are_no_fields(tmp_path: Path) -> None:
    assert read(tmp_path, "x,n,label", *ROWS, "7,8,a,,").table.iloc[-1].tolist() == ["7", "8", "a"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([*ROWS, "1,2,a,4"], r"line 14 has 4 fields, there are 3 column names \('1,2,a,4'\)"),
        (['"1\n2",3,a', *ROWS, "1,2,3,4,5"], "line 16 has 5 fields"),
        (["1,2,a,4", *ROWS], "line 2 has 4 fields"),
        ([*ROWS, '1,"2,a', *ROWS], "a quote in line 14 is never closed, so all 13 lines"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(
    lines: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        read(tmp_path, "x,n,label", *lines)
