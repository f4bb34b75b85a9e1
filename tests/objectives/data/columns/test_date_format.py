"""Dates in text: the common forms, the order of day and month, and what is no date."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from widthwise.objectives.data.columns.date_format import (
    ParsedDates,
    are_compact_dates,
    parse_dates,
)


def parse(*texts: str, day_first: bool | None = None) -> ParsedDates:
    column = pd.Series(list(dict.fromkeys(texts)), dtype="str")
    return parse_dates(column, np.ones(len(column), dtype=np.int64), day_first)


def written(parsed: ParsedDates) -> list[str]:
    return [str(value)[:16] for value in parsed.values]


FORMS = {
    "ISO": ("2020-12-31", "2020-12-31 00:00"),
    "ISO with a time": ("2020-12-31T23:59:30", "2020-12-31 23:59"),
    "ISO with a zone": ("2020-12-31T23:59:00+02:00", "2020-12-31 21:59"),
    "ISO without dashes": ("20201231T235900Z", "2020-12-31 23:59"),
    "24 o'clock": ("2020-12-30 24:00", "2020-12-31 00:00"),
    "slashes, year first": ("2020/12/31", "2020-12-31 00:00"),
    "American": ("12/31/2020 23:59", "2020-12-31 23:59"),
    "American, PM": ("12/31/2020 11:59 PM", "2020-12-31 23:59"),
    "American, a.m.": ("12/31/2020 12:05:00 a.m.", "2020-12-31 00:05"),
    "American, two digits": ("12/31/20", "2020-12-31 00:00"),
    "British": ("31/12/2020 9:05", "2020-12-31 09:05"),
    "German": ("31.12.2020 23:59", "2020-12-31 23:59"),
    "German, two digits": ("31.12.20, 23.59", "2020-12-31 23:59"),
    "dashes, day first": ("31-12-2020", "2020-12-31 00:00"),
    "a name": ("31-Dec-2020", "2020-12-31 00:00"),
    "a name, two digits": ("31-Dec-20", "2020-12-31 00:00"),
    "SAS": ("31DEC2020", "2020-12-31 00:00"),
    "a name first": ("Dec 31, 2020", "2020-12-31 00:00"),
    "a long name": ("December 31st, 2020 5 pm", "2020-12-31 17:00"),
    "a weekday": ("Thu, 31 Dec 2020 10:00:00 GMT", "2020-12-31 10:00"),
    "a long weekday": ("Thursday, 31 December 2020", "2020-12-31 00:00"),
    "C": ("Thu Dec 31 10:00:00 2020", "2020-12-31 10:00"),
    "Unix": ("Thu Dec 31 10:00:00 EST 2020", "2020-12-31 15:00"),
    "a web server": ("31/Dec/2020:10:30:00 +0000", "2020-12-31 10:30"),
    "the time first": ("23:59 31.12.2020", "2020-12-31 23:59"),
    "Chinese": ("2020年12月31日", "2020-12-31 00:00"),
    "a month": ("2020-12", "2020-12-01 00:00"),
    "a month in Excel": ("Dec-20", "2020-12-01 00:00"),
    "a month by name": ("Dec 2020", "2020-12-01 00:00"),
    "a month first": ("12/2020", "2020-12-01 00:00"),
    "a quarter": ("2020-Q4", "2020-10-01 00:00"),
    "a quarter first": ("Q4 2020", "2020-10-01 00:00"),
}


@pytest.mark.parametrize("form", FORMS)
def test_dates_are_read_in_the_forms_that_people_write(form: str) -> None:
    text, moment = FORMS[form]
    assert written(parse(text)) == [moment]


@pytest.mark.parametrize(
    ("texts", "first", "day_first"),
    [
        (["05/04/2020", "13/05/2020"], "2020-04-05", True),
        (["05/04/2020", "05/13/2020"], "2020-05-04", False),
        (["05-04-20", "13-05-20"], "2020-04-05", True),
        (["05.04.2020 10:00", "12.31.2020 11:00"], "2020-05-04", False),
    ],
)
def test_one_value_decides_between_day_and_month(
    texts: list[str], first: str, day_first: bool
) -> None:
    parsed = parse(*texts)
    assert written(parsed)[0][:10] == first
    assert (parsed.day_first, parsed.is_ambiguous, parsed.remarks[1:]) == (day_first, False, ())
    order = ["day", "month"] if day_first else ["month", "day"]
    assert parsed.format.split(", ")[:2] == order


UNDECIDED = ["05/04/2020", "04/05/2020", "03/06/2020"]


@pytest.mark.parametrize(
    ("options", "texts", "first"),
    [
        ({}, UNDECIDED, "2020-04-05"),
        ({"day_first": False}, UNDECIDED, "2020-05-04"),
        ({}, [f"{text} 1:00 PM" for text in UNDECIDED], "2020-05-04"),
        ({}, ["01/02/2020", "01/03/2020", "02/01/2020"], "2020-01-02"),
        ({"day_first": False}, ["01/02/2020", "02/02/2020", "01/03/2020"], "2020-02-01"),
        ({}, ["2/1/85", "5/1/85", "8/1/85", "11/1/85", "2/1/86"], "1985-02-01"),
    ],
    ids=[
        "day first",
        "other columns",
        "AM and PM",
        "rising",
        "rising, not other columns",
        "quarters",
    ],
)
def test_where_no_value_decides_it_is_said(
    options: dict[str, Any], texts: list[str], first: str
) -> None:
    parsed = parse(*texts, **options)
    assert written(parsed)[0][:10] == first
    assert (parsed.day_first, parsed.is_ambiguous) == (None, True)
    assert f"is read as {first}" in str(parsed.remarks[0])


def test_the_order_of_the_other_columns_is_said() -> None:
    remark = str(parse(*UNDECIDED, day_first=False).remarks[0])
    assert "in the order of the file's other columns" in remark


def test_two_digit_years_are_said() -> None:
    parsed = parse("01-Feb-19", "01-Feb-20")
    assert [text[:4] for text in written(parsed)] == ["2019", "2020"]
    assert "two-digit years are read as 1969 to 2068" in str(parsed.remarks[0])


@pytest.mark.parametrize(
    ("years", "read"),
    [
        (["47", "61", "73", "89"], ["1947", "1961", "1973", "1989"]),
        (["55", "68", "69", "05"], ["1955", "1968", "1969", "2005"]),
        (["95", "99", "00", "23"], ["1995", "1999", "2000", "2023"]),
        (["69", "75"], ["1969", "1975"]),
        (["00", "31"], ["2000", "2031"]),
    ],
    ids=["births", "births to 2005", "the turn of the century", "before it", "after it"],
)
@pytest.mark.parametrize("form", ["13/02/{}", "Feb 13, '{}", "Feb-{}"])
def test_the_two_digit_years_of_a_column_lie_in_one_stretch(
    form: str, years: list[str], read: list[str]
) -> None:
    parsed = parse(*(form.format(year) for year in years))
    assert [text[:4] for text in written(parsed)] == read


def test_a_column_may_mix_forms_but_not_the_order_of_day_and_month() -> None:
    mixed = parse("2020-12-30", "31/12/2020", "29.12.2020")
    assert [text[:10] for text in written(mixed)] == ["2020-12-30", "2020-12-31", "2020-12-29"]
    assert parse("13/05/2020", "14/05/2020", "05/13/2020").values.isna().tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "texts",
    [
        ["1.5", "2.5"],
        ["May", "June"],
        ["May 5", "June 6"],
        ["A1", "A-1"],
        ["1.2.3", "1.10.2"],
        ["10-19", "20-29"],
        ["1/2", "3/4"],
        ["2019", "2020"],
        ["2020-02-30", "2020-13-01"],
        ["Room 3 Mar 2020", "hello 2020"],
        ["12:30", "23:59"],
        ["555-12-3456", "555-98-7654"],
    ],
    ids=" ".join,
)
def test_what_is_no_date_is_not_taken_for_one(texts: list[str]) -> None:
    assert parse(*texts).values.isna().all()


def test_eight_figures_are_dates_where_all_of_many_are() -> None:
    days = pd.date_range("2020-01-01", periods=40).strftime("%Y%m%d")
    assert are_compact_dates(pd.Series(days, dtype="str"))
    assert not are_compact_dates(pd.Series([*days, "20201301"], dtype="str"))
    assert not are_compact_dates(pd.Series(days[:5], dtype="str"))
    months = pd.date_range("2015-01-01", periods=40, freq="MS").strftime("%m.%Y")
    assert are_compact_dates(pd.Series(months, dtype="str"))


def test_very_many_texts_are_judged_by_a_sample() -> None:
    moments = pd.date_range("2020-01-01", periods=3000, freq="37min")
    parsed = parse(*moments.strftime("%d/%m/%Y %H:%M"))
    assert parsed.values.dt.tz_localize(None).tolist() == moments.tolist()
    assert parse(*[f"name {k} of 1.2.20" for k in range(3000)]).values.isna().all()
