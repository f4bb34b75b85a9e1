"""Separators: the one that divides the lines evenly; the user's word for another."""

from __future__ import annotations

import pytest
from widthwise.objectives.data.files.separator import (
    Dialect,
    detect_dialect,
    parse_separator,
    read_records,
)
from widthwise.objectives.errors import DataError

LINES = {
    "commas": (["a,b,c\n", "1;2,3,4\n", "5,6 7,8\n"], ","),
    "decimal commas": (["preis;menge;art\n", "1,5;2,5;x\n", "2,5;3,0;y\n"], ";"),
    "decimal commas beside tabs": (["x\ty\tz\n", "1,5\t2\tu\n", "1,25\t3\tv\n"], "\t"),
    "bars": (["a|b\n", "x, y|1\n", "z, u|2\n"], "|"),
    "blanks": (["  a   b  c\n", " 1  2   3\n", "10 20  30\n"], " "),
    "decimal commas beside blanks": (["x y z\n", "1,5 2,5 3\n", "2,5 3,5 4\n"], " "),
    "titles above": (["Report; of, 2020\n", "a,b,c\n", "1,2,3\n", "4,5,6\n"], ","),
    "prose": (["id,text\n", '1,"one; two; three"\n', '2,"a; b; c"\n'], ","),
    "one column": (["name\n", "Smith\n", "Jones\n"], ","),
    "carets": (["a^b\n", "1,5^x\n", "2,5^y\n"], "^"),
    "R's row names": (['"a","b"\n', '"1",2,"x"\n', '"2",3,"y"\n'], ","),
    "R's row names with blanks": (["a;b;c\n", "Mazda RX;2;3;x\n", "Datsun B;3;4;y\n"], ";"),
    "a title over commas and blanks": (["|a cross fold\n", "1, 2, x, 3\n", "4, 5, y, 6\n"], ","),
    "aligned, with a tab": (['18.0   8\t"ford pinto"\n', '9.0    6\t"fiat"\n'], " "),
    "words beside tabs": (["full name\tage\n", "Ann Lee\t3\n", "Bob Ray\t4\n"], "\t"),
    "names with blanks": (["name,age\n", "John Smith,3\n", "Mary Jones,4\n"], ","),
}


@pytest.mark.parametrize("case", LINES)
def test_the_separator_divides_the_lines_evenly(case: str) -> None:
    lines, separator = LINES[case]
    assert detect_dialect(lines).separator == separator


@pytest.mark.parametrize(
    ("word", "separator"), [("tab", "\t"), ("\\t", "\t"), ("Space", " "), (";", ";"), ("~", "~")]
)
def test_the_user_names_the_separator(word: str, separator: str) -> None:
    assert parse_separator(word) == separator


@pytest.mark.parametrize("word", ["", ";;", "a", "1", '"', "\n", ".", "semi"])
def test_what_values_are_made_of_is_no_separator(word: str) -> None:
    with pytest.raises(DataError, match="the separator is"):
        parse_separator(word)


def test_blanks_between_quoted_fields() -> None:
    assert list(read_records(['  "a b"   1  x"y \n'], Dialect(separator=" "))) == [
        ["a b", "1", 'x"y']
    ]


QUOTED = {
    "single quotes": (["'a','b'\n", "'x, y','1'\n", "'z','2'\n"], [["x, y", "1"], ["z", "2"]]),
    "single quotes around text": (["'a','b'\n", "'x, y',1\n"], [["x, y", "1"]]),
    "apostrophes": (["a,b\n", "it's,1\n", "'t is,2\n"], [["it's", "1"], ["'t is", "2"]]),
    "escapes": (["a,b\n", '"so, \\"x, y\\"",1\n'], [['so, "x, y"', "1"]]),
    "paths": (["a,b\n", '"C:\\x\\",1\n', '"D:\\y",2\n'], [["C:\\x\\", "1"], ["D:\\y", "2"]]),
    "doubled quotes": (["a,b\n", '"so, ""x""",1\n'], [['so, "x"', "1"]]),
}


@pytest.mark.parametrize("case", QUOTED)
def test_what_stands_around_fields_is_detected(case: str) -> None:
    lines, rows = QUOTED[case]
    assert list(read_records(lines, detect_dialect(lines)))[1:] == rows
