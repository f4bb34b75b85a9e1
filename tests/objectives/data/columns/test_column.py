"""A column of text: numbers, dates, true/false or words, and what is a gap in it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.objectives.data.columns.column import Conventions, read_column, read_columns
from widthwise.objectives.data.columns.reading import ColumnReading

NUMBERS = [f"{k / 4}" for k in range(90)]
WORDS = ["red", "green", "blue"] * 30


def read(texts: Sequence[str], missing: Sequence[str] = ()) -> ColumnReading:
    return read_column(pd.Series(list(texts), dtype="str"), "a", missing)


def test_each_column_of_a_table_is_read_in_its_order() -> None:
    table = pd.DataFrame({"n": ["1", "", "2.5"], "t": ["a", "b", "-"]}, dtype=str)
    numbers, words = read_columns(table)
    assert (numbers.name, numbers.kind, numbers.empty) == ("n", "number", 1)
    assert numbers.values.tolist()[::2] == [1.0, 2.5]
    assert (words.name, words.kind, words.values.tolist()) == ("t", "text", ["a", "b", "-"])


def test_a_reading_has_a_value_for_each_row_under_its_label() -> None:
    column = pd.Series(["1,5", "", "x"] * 2 + ["2,5"] * 50, index=range(100, 156), dtype="str")
    reading = read_column(column, "a", ["x"])
    assert reading.values.index.tolist() == column.index.tolist()
    assert reading.values.isna().sum() == reading.gaps == 4
    assert reading.values[100] == 1.5


@pytest.mark.parametrize("word", ["None", "NA", "null", "N/A", "nan", "NULL", "-", "?", "missing"])
def test_a_word_among_words_is_no_gap(word: str) -> None:
    reading = read([*WORDS, *[word] * 200])
    assert (reading.kind, reading.gaps) == ("text", 0)
    assert (reading.values == word).sum() == 200


@pytest.mark.parametrize("blank", ["", " ", "\t", "\N{NO-BREAK SPACE}"], ids=ascii)
def test_an_empty_field_is_a_gap(blank: str) -> None:
    assert read([*WORDS, blank]).empty == 1
    assert read([*NUMBERS, blank]).empty == 1


@pytest.mark.parametrize("texts", [WORDS, NUMBERS], ids=["words", "numbers"])
def test_a_word_that_the_user_names_is_a_gap_in_any_column(texts: list[str]) -> None:
    reading = read([*texts, "blue", " ?", "green"], ["?", "blue", "green"])
    assert reading.empty == 3 + sum(text in ("blue", "green") for text in texts)
    assert reading.missing_words == {}


def test_a_number_that_the_user_names_is_a_gap_however_it_is_written() -> None:
    assert read([*NUMBERS, "-999", "-999.0", "-999.00"], ["-999"]).empty == 3


@pytest.mark.parametrize(
    "word", ["?", "-", ".", "unknown", "NA", "n/a", "None", "NULL", "NaN", "#DIV/0!", "k.A.", ":"]
)
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_the_usual_words_among_numbers_are_gaps_at_any_share(word: str, share: float) -> None:
    count = round(len(NUMBERS) * share / (1 - share))
    reading = read([*NUMBERS, *[word] * count])
    assert reading.kind == "number"
    assert reading.missing_words == {word: count}
    assert reading.values.isna().sum() == count


def test_few_other_words_among_many_numbers_are_gaps_and_named() -> None:
    reading = read([*NUMBERS, *["broken"] * 20, "see note"])
    assert reading.missing_words == {"broken": 20, "see note": 1}
    assert read([*NUMBERS, "oops", "typo", "1.2.3"]).gaps == 3


def test_many_words_beside_numbers_are_told_with_what_to_do() -> None:
    reading = read([*NUMBERS, *[f"word {k}" for k in range(40)]])
    assert reading.kind == "text"
    assert "69% numbers, beside 'word 0' (1)" in reading.describe()
    assert "--missing" in reading.describe()


@pytest.mark.parametrize("texts", [["0", "1", "2", "3+"], ["1", "2", "rare"], ["1", "2", "X"]])
def test_a_word_beside_few_numbers_is_a_category(texts: list[str]) -> None:
    assert read(texts * 20).kind == "text"
    assert read([*texts[:2] * 20, "?"]).kind == "number"


@pytest.mark.parametrize(
    "texts", [["True", "False"], ["TRUE", "FALSE", "NA"], ["true", "false", "", "null"]]
)
def test_true_and_false_are_flags(texts: list[str]) -> None:
    reading = read(texts * 10)
    assert reading.kind == "true/false"
    assert reading.values[:2].tolist() == [True, False]
    assert reading.gaps == 10 * (len(texts) - 2)


@pytest.mark.parametrize("word", ["unknown", "0000-00-00", "NaT", "2020-02-30", "later"])
def test_words_among_dates_are_gaps(word: str) -> None:
    days = pd.date_range("2020-01-01", periods=90).strftime("%Y-%m-%d")
    reading = read([*days, word, word, ""])
    assert (reading.kind, reading.gaps, reading.missing_words) == ("date", 3, {word: 2})
    assert reading.values.isna().sum() == 3


def test_clock_times_are_numbers_of_hours() -> None:
    reading = read([f"{k % 24}:{k % 60:02d}" for k in range(90)])
    assert (reading.kind, reading.format) == ("number", "clock times, in hours")
    assert reading.values[90 - 1] == (89 % 24) + 29 / 60


def test_years_are_numbers() -> None:
    reading = read([str(year) for year in range(1950, 2031)])
    assert (reading.kind, reading.format, reading.values.iloc[-1]) == ("number", "", 2030)


@pytest.mark.parametrize(
    ("raw", "label", "told"),
    [
        (["yes ", "yes", " yes"], "yes", "'yes ' and 'yes' and ' yes'"),
        (["no\N{NO-BREAK SPACE}", "no"], "no", r"'no\xa0' and 'no'"),
        (["\N{ZERO WIDTH SPACE}no", "no"], "no", r"'\u200bno' and 'no'"),
        (["Ko\N{COMBINING DIAERESIS}ln", "Köln"], "Köln", r"'Ko\u0308ln' and 'Köln'"),
    ],
)
def test_words_that_look_alike_are_one_and_told(raw: list[str], label: str, told: str) -> None:
    reading = read([*raw * 5, "other"])
    assert set(reading.values) == {label, "other"}
    (remark,) = reading.remarks
    assert "merged" in remark.what
    assert remark.details == told


def test_words_that_differ_in_capitals_stay_apart_and_are_told() -> None:
    reading = read(["Yes", "yes", "yes", "no", "New  York", "New York"] * 5)
    assert reading.values.nunique() == 5
    (remark,) = reading.remarks
    assert "'Yes' (5) and 'yes' (10)" in remark.details
    assert "'New  York' (5) and 'New York' (5)" in remark.details


def test_a_column_that_can_be_read_in_two_ways_is_read_as_the_others_are() -> None:
    table = pd.DataFrame({"a": ["1,234", "5,678"], "b": ["0,5", "12,25"], "c": ["1.234", "9.876"]})
    readings = read_columns(table)
    assert [one.values[0] for one in readings] == [1.234, 0.5, 1234]
    alone = read_columns(table[["a", "c"]])
    assert [one.values[0] for one in alone] == [1234, 1.234]
    points = read_columns(table[["a"]].assign(b=["0.5", "1.25"]))
    assert (points[0].values[0], points[0].remarks) == (1234, ())


def test_the_form_of_the_file_decides_where_no_column_does() -> None:
    table = pd.DataFrame({"a": ["1,234", "5,678"]})
    assert read_columns(table, likely=Conventions(decimal=","))[0].values[0] == 1.234
    proven = table.assign(b=["0.5", "1.25"])
    assert read_columns(proven, likely=Conventions(decimal=","))[0].values[0] == 1234


def test_the_order_of_day_and_month_is_that_of_the_other_columns() -> None:
    table = pd.DataFrame(
        {
            "a": ["05/04/2020", "03/07/2020", "04/05/2020"],
            "b": ["05/14/2020", "03/07/2020", "04/05/2020"],
        }
    )
    months = [one.values.dt.month.tolist() for one in read_columns(table)]
    assert months == [[5, 3, 4], [5, 3, 4]]
    assert read_columns(table[["a"]])[0].values.dt.month.tolist() == [4, 7, 5]


def test_an_empty_column_is_all_gaps() -> None:
    assert read(["", " ", ""]).gaps == 3
    assert read([]).gaps == 0


PIECES = st.sampled_from(
    [*"01 ,.:-/()+%$€eMTZ?٣９年", "12", "31", "2020", "kg", "Jan", "PM", "+02:00", "NA", "inf"]
)
ODD_TEXTS = st.lists(PIECES, max_size=5).map("".join)
COMPANY = st.sampled_from(
    [
        [],
        NUMBERS,
        ["12/31/2020", "01/02/2021"],
        [f"${k},000" for k in range(12)],
        [f"{k}:30" for k in range(12)],
    ]
)


@given(texts=st.lists(ODD_TEXTS, min_size=1, max_size=6), company=COMPANY)
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_value_or_a_gap_that_is_counted(texts: list[str], company: list[str]) -> None:
    reading = read([*texts, *company])
    assert len(reading.values) == len(texts) + len(company)
    assert reading.values.isna().sum() == reading.gaps
    assert "\n" not in reading.describe()
