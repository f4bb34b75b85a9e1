"""Texts as numbers, plain or as people write them, unless they are codes.

Leading zeros ("01067") make a column one of codes, as do whole numbers that float64 would not tell
apart; a few of them among decimals or in columns of many lengths do not.

Entry point: `parse_numbers`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .amounts import digit_shapes, first_digits, plain_characters, split_amounts
from .decimal_sign import (
    GROUPINGS,
    DecimalSign,
    NumberStyle,
    decide_style,
    fits_style,
    parse_digits,
)
from .missing_words import is_missing_word
from .reading import Remark, format_words

SAMPLE_SIZE = 2000
"""Distinct texts by which a column with more is judged first."""

MIN_NUMBERS_IN_SAMPLE = 0.5

MIN_LEADING_ZEROS = 0.01
"""Share of the rows from which on leading zeros make codes; below, they are slips of the pen."""

MIN_PLAIN_CODES = 0.95
"""Share of the numbers that must be figures alone for leading zeros to make codes."""

MAX_EXACT_INTEGER = 2.0**53
"""Whole numbers beyond this are not told apart in float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ParsedNumbers:
    """Distinct texts as numbers.

    Attributes:
        values: Of each text; NaN where it is none.
        format: How they are written, for people; empty for plain numbers.
        remarks: What else a person should know, or why they are no numbers.
        proven_sign: The decimal sign, where some value can be read with that one only.
        is_ambiguous: Whether the other decimal sign would make other numbers of all of them.
    """

    values: NDArray[np.float64]
    format: str = ""
    remarks: tuple[Remark, ...] = ()
    proven_sign: DecimalSign | None = None
    is_ambiguous: bool = False


def parse_numbers(
    texts: "pd.Series[Any]", counts: NDArray[np.int64], expected: DecimalSign | None = None
) -> ParsedNumbers:
    """Return the distinct texts of a column as numbers, as far as they are such.

    Args:
        texts: Distinct, of dtype str, without blanks around them.
        counts: Rows of each.
        expected: The decimal sign of the file's other columns.
    """
    plain = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    others = np.isnan(plain) & ~is_missing_word(texts)
    if not others.any() and not (expected == "," and _may_be_grouped(texts, plain)):
        parsed = ParsedNumbers(
            values=plain,
            proven_sign="." if _has_decimal_points(texts) else None,
            is_ambiguous=_may_be_grouped(texts, plain),
        )
    elif _is_mostly_other(texts):
        return ParsedNumbers(values=np.full(len(texts), np.nan))
    else:
        parsed = _parse_amounts(texts, counts, expected)
    codes = _why_codes(texts, counts, parsed.values)
    if codes is not None:
        return ParsedNumbers(values=np.full(len(texts), np.nan), remarks=(codes,))
    return parsed


def _parse_amounts(
    texts: "pd.Series[Any]", counts: NDArray[np.int64], expected: DecimalSign | None
) -> ParsedNumbers:
    plain = plain_characters(texts)
    shape_of, shapes = pd.factorize(digit_shapes(plain))
    shape_counts = np.bincount(shape_of, weights=counts, minlength=len(shapes)).astype(np.int64)
    amounts = split_amounts(
        pd.Series(shapes, dtype="str"), shape_counts, np.bincount(shape_of, minlength=len(shapes))
    )
    style = decide_style(amounts.digits, shape_counts, expected)
    numbers = np.full(len(texts), np.nan)
    labels = _describe_style(style)
    fits = fits_style(amounts.digits, style)
    styles = [(fits, style)]
    other_sign = _other_sign(amounts.digits[~fits], style) if fits.any() else None
    if other_sign is not None:
        styles.append((fits_style(amounts.digits, other_sign) & ~fits, other_sign))
        labels = ["decimal points and decimal commas"]
    for fitting_shapes, fitting_style in styles:
        selected = fitting_shapes[shape_of]
        digits = first_digits(plain[selected])
        factors = amounts.factors[shape_of[selected]]
        numbers[selected] = parse_digits(digits, fitting_style) * factors
    remarks = list(amounts.remarks)
    if style.is_ambiguous and expected is None:
        remarks.extend(_ambiguity(texts, numbers))
    return ParsedNumbers(
        values=numbers,
        format=", ".join((*labels, *amounts.format)),
        remarks=tuple(remarks),
        proven_sign=style.decimal if style.is_proven else None,
        is_ambiguous=style.is_ambiguous,
    )


def _describe_style(style: NumberStyle) -> list[str]:
    return [
        *(["decimal commas"] if style.decimal == "," else []),
        *([f"{GROUPINGS[style.group]} between thousands"] if style.group else []),
    ]


def _other_sign(digits: "pd.Series[Any]", style: NumberStyle) -> NumberStyle | None:
    """Return the style of the rest of a column that mixes decimal signs, as "1.5" and "2,5"."""
    other = NumberStyle(decimal="." if style.decimal == "," else ",", group="")
    left = digits[fits_style(digits, other)]
    if style.group or left.empty or left.str.fullmatch(r"\d+[.,]\d{3}").any():
        return None
    return other


def _ambiguity(texts: "pd.Series[Any]", values: NDArray[np.float64]) -> list[Remark]:
    has_comma = texts.str.contains(",", regex=False).to_numpy(dtype=bool) & ~np.isnan(values)
    if not has_comma.any():
        return []  # points are decimal signs, unless something tells otherwise
    example, value = texts[has_comma].iloc[0], values[has_comma][0]
    return [
        Remark(
            "nothing tells whether commas are decimal signs or stand between thousands",
            f"'{example}' is read as {value:.15g}",
        )
    ]


def _has_decimal_points(texts: "pd.Series[Any]") -> bool:
    has_point = texts.str.contains(".", regex=False)
    return bool((has_point & ~texts.str.fullmatch(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+")).any())


def _may_be_grouped(texts: "pd.Series[Any]", values: NDArray[np.float64]) -> bool:
    """Return whether all points may stand between thousands, as in 1.234 beside 950."""
    numbers = texts[~np.isnan(values)]
    has_point = numbers.str.contains(".", regex=False)
    if not has_point.any():
        return False
    return bool(numbers.str.fullmatch(r"[-+]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d+)").all())


def _is_mostly_other(texts: "pd.Series[Any]") -> bool:
    """Return whether a sample of very many distinct texts is no column of numbers."""
    if len(texts) <= SAMPLE_SIZE:
        return False
    sample = texts.iloc[np.linspace(0, len(texts) - 1, SAMPLE_SIZE).astype(int)]
    shapes = digit_shapes(plain_characters(sample))
    ones = np.ones(len(sample), dtype=np.int64)
    return bool(split_amounts(shapes, ones, ones).digits.notna().mean() < MIN_NUMBERS_IN_SAMPLE)


def _why_codes(
    texts: "pd.Series[Any]", counts: NDArray[np.int64], values: NDArray[np.float64]
) -> Remark | None:
    """Return why digits are codes rather than numbers; None where they are numbers."""
    is_number = ~np.isnan(values)
    leading = texts.str.fullmatch(r"[-+]?0\d+").to_numpy(dtype=bool)
    if leading.any():
        numbers, zeros = texts[is_number], texts[leading]
        share = counts[leading].sum() / counts[is_number].sum()
        is_merging = bool(np.isin(values[leading], values[is_number & ~leading]).any()) or len(
            np.unique(values[leading])
        ) < len(zeros)
        all_digits = bool(numbers.str.fullmatch(r"\d+").mean() >= MIN_PLAIN_CODES)
        one_length = numbers.str.len().nunique() == 1
        if all_digits and (one_length or is_merging or share >= MIN_LEADING_ZEROS):
            return Remark("codes with leading zeros, not numbers", format_words(zeros))
    large = is_number & (np.abs(values) >= MAX_EXACT_INTEGER) & np.isfinite(values)
    merging = len(np.unique(values[large])) < large.sum()
    if merging and texts[large].str.fullmatch(r"[-+]?\d+").all():
        return Remark(
            "whole numbers too long to be told apart, taken as codes", format_words(texts[large])
        )
    return None
