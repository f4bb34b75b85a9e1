"""Numbers as people write them: what each text is, said how it was read, and what is no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from widthwise.objectives.data.columns.number_format import ParsedNumbers, parse_numbers


def parse(*texts: str, expected: Any = None) -> ParsedNumbers:
    column = pd.Series(list(dict.fromkeys(texts)), dtype="str")
    return parse_numbers(column, np.ones(len(column), dtype=np.int64), expected)


NBSP, THIN = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"

WRITTEN = {
    "plain": (["1.5", "-2", "+3e-2", ".5", "5."], [1.5, -2, 0.03, 0.5, 5], ""),
    "decimal commas": (["1,5", "-0,25", "3"], [1.5, -0.25, 3], "decimal commas"),
    "three decimals and a zero": (["1,288", "0,031"], [1.288, 0.031], "decimal commas"),
    "German thousands": (["1.234,56", "12,5"], [1234.56, 12.5], "points between thousands"),
    "English thousands": (["1,234.5", "950"], [1234.5, 950], "commas between thousands"),
    "millions with points": (["1.234.567", "12.345"], [1234567, 12345], "points between"),
    "Indian thousands": (["12,34,567", "1,23,456"], [1234567, 123456], "commas between thousands"),
    "blanks": (["1 234,5", "50 000"], [1234.5, 50000], "decimal commas, spaces between"),
    "hard blanks": ([f"1{NBSP}234", f"50{THIN}000"], [1234, 50000], "spaces between thousands"),
    "Swiss": (["1'234.50", "1\N{RIGHT SINGLE QUOTATION MARK}000"], [1234.5, 1000], "apostrophes"),
    "dollars": (["$1,234.50", "$5", "-$5", "$-6"], [1234.5, 5, -5, -6], "in $"),
    "euros behind": (["1.234,50 €", "12 €"], [1234.5, 12], "decimal commas, points between"),
    "euros before": (["€ 5,00", "€ 7,5"], [5, 7.5], "in €"),
    "a code": (["USD 5", "USD 1,250.00"], [5, 1250], "in $"),
    "one currency in two ways": (["$5", "US$ 6", "7 USD"], [5, 6, 7], "in $"),
    "no cents": (["CHF 50.-", "CHF 1'200.-"], [50, 1200], "in CHF"),
    "rupees": (["Rs. 5,000", "Rs.1,00,000"], [5000, 100000], "in ₹"),
    "pounds in thousands": (["£1.2M", "£350K", "£0"], [1.2e6, 3.5e5, 0], "multiplied out"),
    "per cent": (["51.2%", "3 %", "-4%"], [51.2, 3, -4], "per cent"),
    "per cent with commas": (["51,2 %", "3,75 %"], [51.2, 3.75], "decimal commas, per cent"),
    "Turkish per cent": (["%51,2", "%3"], [51.2, 3], "per cent"),
    "accounting": (["(1,234.50)", "99.00"], [-1234.5, 99], "parentheses negative"),
    "accounting in dollars": (["($7.50)", "$(8)", "$9"], [-7.5, -8, 9], "parentheses negative"),
    "minus behind": (["1.234,50-", "3,00"], [-1234.5, 3], "decimal commas"),
    "a real minus": (["\N{MINUS SIGN}5", "3,5"], [-5, 3.5], "decimal commas"),
    "Arabic digits": (["١٢٫٥", "٣"], [12.5, 3], ""),
    "both decimal signs": (["1.5", "2,5"], [1.5, 2.5], "decimal points and decimal commas"),
    "exponents": (["1,5e3", "2,5E-2"], [1500, 0.025], "decimal commas"),
    "exponents of three decimals": (["-6,620e-01", "1,043e+01"], [-0.662, 10.43], "decimal commas"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_numbers_are_read_as_they_are_written(case: str) -> None:
    texts, numbers, says = WRITTEN[case]
    parsed = parse(*texts)
    assert parsed.values.tolist() == pytest.approx(numbers)
    assert says in parsed.format


def test_a_unit_behind_many_numbers_is_no_part_of_them() -> None:
    parsed = parse(*[f"{k}.5 kg" for k in range(20)], "30KG", "31 kg.")
    assert parsed.values[[0, 20, 21]].tolist() == [0.5, 30, 31]
    assert parsed.format == "in kg"


def test_letters_behind_few_numbers_are_names_unless_they_multiply() -> None:
    plain = [str(k) for k in range(100, 200)]
    assert np.isnan(parse(*plain, "208a", "208b").values).tolist() == [False] * 100 + [True] * 2
    assert np.isnan(parse(*plain, "12A", "13A").values).sum() == 2
    assert parse(*plain, "1.2K", "3M").values[-2:].tolist() == [1200, 3e6]
    assert np.isnan(parse(*plain, "10.4 b", "9.1 t").values[-2:]).all()
    assert parse(*[f"{k}.5" for k in plain], "$1.2b").values[-1] == 1.2e9


NO_NUMBERS: dict[str, Sequence[str]] = {
    "codes": ["A1", "A2"],
    "a word before": ["Zone 1", "Zone 2"],
    "few values with a word behind": ["36 months", "60 months"],
    "versions": ["1.2.3", "1.2.4"],
    "addresses": ["192.168.1.1", "10.0.0.1"],
    "dates": ["2020-01-01", "12/31/2020 23:59"],
    "times": ["10:30", "11:45"],
    "ranges": ["10-19", "20-29"],
    "lists": ["1,2,3", "4,5,6"],
    "fractions": ["1/2", "3/4"],
    "feet": ["5'11\"", "6'2\""],
    "groups of other lengths": ["1,23", "4,567,8"],
}


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_what_is_no_number_is_not_taken_for_one(case: str) -> None:
    assert np.isnan(parse(*NO_NUMBERS[case]).values).any()


@pytest.mark.parametrize(
    "texts",
    [["$5", "€6", "$7"], [f"{k} {unit}" for k in range(20) for unit in ("kg", "lb")]],
    ids=["currencies", "units"],
)
def test_amounts_that_cannot_be_compared_are_no_numbers_and_told(texts: list[str]) -> None:
    parsed = parse(*texts)
    assert np.isnan(parsed.values).all()
    assert "cannot be compared" in parsed.remarks[0].what


def test_commas_that_may_be_either_are_thousands_and_told() -> None:
    parsed = parse("1,234", "50,000")
    assert parsed.values.tolist() == [1234, 50000]
    assert parsed.is_ambiguous
    assert "'1,234' is read as 1234" in str(parsed.remarks[0])


@pytest.mark.parametrize(
    ("texts", "numbers"), [(["1,234", "5,000"], [1.234, 5]), (["1.234", "12.345"], [1234, 12345])]
)
def test_the_decimal_sign_of_other_columns_decides(texts: list[str], numbers: list[float]) -> None:
    parsed = parse(*texts, expected=",")
    assert parsed.values.tolist() == numbers
    assert parsed.remarks == ()


def test_points_that_may_be_either_are_decimal_signs() -> None:
    parsed = parse("1.234", "12.345")
    assert parsed.values.tolist() == [1.234, 12.345]
    assert (parsed.is_ambiguous, parsed.remarks) == (True, ())


@pytest.mark.parametrize(
    ("texts", "proven"),
    [
        (["1.5", "2"], "."),
        (["1,5", "2"], ","),
        (["1,234,567"], "."),
        (["1.234.567"], ","),
        (["1", "2"], None),
        (["1,234"], None),
        (["1.234"], None),
    ],
)
def test_a_column_proves_its_decimal_sign(texts: list[str], proven: str | None) -> None:
    assert parse(*texts).proven_sign == proven


@pytest.mark.parametrize(
    "texts",
    [
        ["01", "1", "2"],
        ["01067", "98101"],
        ["007", "012", "133"],
        ["0010", "0011"],
        [*(f"{k:03d}" for k in range(99)), "99A"],
    ],
    ids=["beside the same number", "zip codes", "agents", "all", "one with a letter"],
)
def test_leading_zeros_make_codes(texts: list[str]) -> None:
    parsed = parse(*texts)
    assert np.isnan(parsed.values).all()
    assert "leading zeros" in parsed.remarks[0].what


@pytest.mark.parametrize(
    "texts",
    [["0", "1"], ["0.5", "00.7"], ["-01.5", "2"], [*map(str, range(300)), "0900"]],
    ids=["zero", "decimals", "signs", "a slip among many"],
)
def test_other_zeros_do_not(texts: list[str]) -> None:
    assert not np.isnan(parse(*texts).values).any()


def test_whole_numbers_that_would_merge_are_codes() -> None:
    assert np.isnan(parse("12345678901234567890", "12345678901234567891").values).all()
    assert not np.isnan(parse("1577836800000000000", "1577836800123000000").values).any()


def test_a_sample_of_many_texts_tells_names_from_amounts() -> None:
    names = parse(*[f"name {k}" for k in range(5000)])
    assert np.isnan(names.values).all()
    amounts = parse(*[f"${k:,}.00" for k in range(5000)])
    assert amounts.values.tolist() == list(range(5000))
