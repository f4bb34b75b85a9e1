"""Headers: whether the first row holds names, and which lines stand above the table."""

from __future__ import annotations

import pytest
from widthwise.objectives.data.files.header import find_table, has_header

NUMBERS = [[f"{k}.5", str(k * k % 7), "ab"[k % 2]] for k in range(12)]
IRIS = [["5.1", "3.5", "setosa"], ["4.9", "3.0", "setosa"], ["6.3", "3.3", "virginica"]] * 5

HEADERS = {
    "text over numbers": ["height", "count", "kind"],
    "pandas' default": ["0", "1", "2"],
    "pandas' default with an unnamed index": ["", "0", "1"],
    "pandas' default beside a name": ["0", "1", "label"],
    "years": ["country", "1990", "1991"],
    "one year": ["area", "count", "2000"],
    "a gap": ["height", "", "kind"],
    "digits in names": ["x1", "x2", "label"],
}


@pytest.mark.parametrize("case", HEADERS)
def test_names_are_recognised(case: str) -> None:
    assert has_header(HEADERS[case], NUMBERS)


def test_a_long_rise_over_numbers_is_names() -> None:
    wavelengths = [str(400 + 2 * k) for k in range(8)]
    assert has_header(wavelengths, [[f"0.{(k * j) % 91}" for k in range(8)] for j in range(9)])


VALUES = {
    "numbers and a class": (["5.8", "2.7", "virginica"], IRIS),
    "classes alone": (["p", "x", "n"], [["e", "x", "n"], ["p", "y", "n"], ["e", "x", "w"]] * 6),
    "a gap among numbers": (["5.8", "?", "4"], [["1.5", "3", "2"], ["2.5", "4", "3"]] * 4),
    "dates": (["2020-01-01", "x"], [["2020-01-02", "y"], ["2020-02-03", "z"]] * 4),
    "codes": (["A0001", "Ann"], [["B0202", "Bob"], ["C3003", "Cid"]] * 3),
    "money": (["$1,200.50", "house"], [["$900.10", "flat"], ["$80.00", "garage"]] * 3),
    "counting rows": (["1", "2", "3"], [["2", "3", "4"], ["3", "4", "5"], ["4", "5", "6"]]),
    "a name before 0 and 1": (["Ann", "0", "1"], [["Bob", "2", "1"], ["Cid", "1", "0"]]),
    "a class before 0 and 1": (["a", "0", "1"], [["b", "2", "1"], ["a", "1", "0"]] * 3),
    "equal numbers": (["0", "0"], [["0", "1"], ["1", "1"]] * 5),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_are_no_names(case: str) -> None:
    assert not has_header(*VALUES[case])


def test_the_lines_above_a_table() -> None:
    records = [["Report 2020"], [], ["# by", " hand"], ["a", "b", "c"], *NUMBERS]
    start = find_table(records, 3)
    assert (start.first, start.preamble) == (3, [["Report 2020"], ["# by", " hand"]])
    assert start.commented_names is None


def test_a_title_that_a_spreadsheet_filled_up() -> None:
    records = [["Report", "", ""], ["a", "b", "c"], *NUMBERS]
    assert find_table(records, 3).first == 1


def test_names_in_the_comment_above_a_table() -> None:
    start = find_table([["# a", "b", "c"], *NUMBERS], 3)
    assert (start.first, start.commented_names) == (1, ["a", "b", "c"])


def test_a_number_sign_is_the_name_of_a_column_that_counts() -> None:
    records = [["#", "name", "kind"], ["1", "Ann", "x"], ["2", "Bob", "y"]]
    assert (find_table(records, 3).first, find_table(records, 3).preamble) == (0, [])
    assert find_table([["#", "made", "today"], *records], 3, blanks_divide=True).first == 2


def test_row_names_without_a_name_leave_the_header_where_it_is() -> None:
    assert find_table([["mpg", "cyl"], ["Mazda", "21", "6"]] * 3, 3).first == 0
