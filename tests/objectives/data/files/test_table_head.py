"""Heads: names from the file or made, as many as fields; refused in one sentence otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from widthwise.objectives.data.files.separator import Dialect
from widthwise.objectives.data.files.table_head import read_head
from widthwise.objectives.errors import DataError

PATH = Path("rows.csv")
COMMAS = Dialect(separator=",")
NUMBERS = ["1,2,x\n", "3,4,y\n", "5,6,x\n"]


def test_a_column_without_a_name_gets_the_name_that_pandas_gives() -> None:
    assert read_head(PATH, [",a,\n", *NUMBERS], COMMAS, None, None).names == [
        "Unnamed: 0",
        "a",
        "Unnamed: 2",
    ]


def test_a_file_that_pandas_saved_twice_has_two_indices() -> None:
    head = read_head(PATH, [",Unnamed: 0,label\n", *NUMBERS], COMMAS, None, None)
    assert head.names == ["Unnamed: 0.1", "Unnamed: 0", "label"]


def test_names_are_made_where_there_are_none_and_said() -> None:
    head = read_head(PATH, NUMBERS, COMMAS, None, "column3")
    assert (head.names, head.skip, head.width) == (["column1", "column2", "column3"], 0, 3)
    assert "no line of column names (it begins with 1, 2, x)" in head.notes[0]


@pytest.mark.parametrize("said", [True, False])
def test_the_user_overrules_what_is_recognised(said: bool) -> None:
    head = read_head(PATH, ["7,8,9\n", *NUMBERS], COMMAS, said, None)
    assert (head.names[0], head.skip) == (("7", 1) if said else ("column1", 0))


def test_the_target_says_where_the_names_are() -> None:
    lines = ["b,label\n", "a,u\n", "b,v\n", "b,u\n", "a,v\n"] * 3
    assert read_head(PATH, lines, COMMAS, None, "label").names == ["b", "label"]


def test_a_target_that_no_made_name_is_is_refused() -> None:
    with pytest.raises(DataError, match=r"no column 'label': its columns are called column1 to"):
        read_head(PATH, NUMBERS, COMMAS, None, "label")


@pytest.mark.parametrize("end", ["", ",", ",,,"])
def test_separators_at_the_end_of_the_names_are_no_columns(end: str) -> None:
    assert read_head(PATH, [f"a,b,c{end}\n", *NUMBERS], COMMAS, None, None).names == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["a,a,label\n", *NUMBERS], "more than one column named 'a'"),
        (["a,label\n", *["1,2,3,4\n"] * 9], "no line of column names|column names and rows of"),
    ],
)
def test_names_that_do_not_fit_are_refused(lines: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_head(PATH, lines, COMMAS, None, "label")
