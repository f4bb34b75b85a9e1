"""Numbers as people write them, taken apart: sign, digits, and a currency, per cent or unit.

"($1,234.50)", "1.2M", "51.2%", "12 kg", "5-": which of these a column may hold is decided by all
its values, since only what is the same in all of them says nothing about one of them. Amounts of
two currencies are no column of numbers.

Entry point: `split_amounts`.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .missing_words import MIN_DISTINCT_VALUES
from .reading import Remark, format_counts

_CODES = (
    "USD|EUR|GBP|JPY|CNY|RMB|INR|RUB|KRW|TRY|UAH|ILS|VND|CHF|AUD|CAD|NZD|HKD|SGD|TWD|THB|IDR|MYR|"
    "PHP|BRL|MXN|ARS|CLP|COP|PEN|ZAR|NGN|EGP|KES|MAD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|RSD|SAR|"
    "AED|QAR|KWD|PKR|BDT|LKR|KZT|GEL|BTC|ETH"
)
"""ISO 4217 codes of what is traded most, and two that everybody knows."""

_CURRENCY_WORDS = (
    r"Rs\.?|kr\.?|zł|Kč|Ft|Fr\.|[Ll]ei|руб\.?|р\.|DM|[Dd]ollars?|[Ee]uros?|[Rr]upees?|[Pp]ounds?"
)

_SAME_CURRENCY = {
    "US$": "$",
    "USD": "$",
    "dollar": "$",
    "EUR": "€",
    "euro": "€",
    "GBP": "£",
    "pound": "£",
    "INR": "₹",
    "Rs": "₹",
    "rupee": "₹",
    "JPY": "¥",
    "RUB": "₽",
    "руб": "₽",
}

_MULTIPLIERS = {
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "mm": 1e6,
    "mn": 1e6,
    "mio": 1e6,
    "million": 1e6,
    "b": 1e9,
    "bn": 1e9,
    "mrd": 1e9,
    "billion": 1e9,
    "t": 1e12,
    "tn": 1e12,
    "trillion": 1e12,
}
"""Words behind a number, in lower case, and what they multiply it by."""

_MAYBE_UNITS = ("m", "mm", "b", "t")
"""Multipliers that are units (metres, tonnes) where they stand behind every number of a column."""

MAX_UNIT_LENGTH = 15

MAX_TOLD_UNITS = 5
"""Different units up to which they are told; more are the letters of codes."""

MIN_UNIT_SHARE = 0.5
"""Share of the numbers that a unit, or a multiplier without currency, must stand behind."""

DOMINANT_SHARE = 0.95
"""Share of the rows with a currency (or unit) from which on the others are slips of the pen."""


def _characters(category: str) -> str:
    # The first two planes of Unicode; the others hold ideographs, tags and private characters.
    return "".join(
        chr(code) for code in range(0x2_0000) if unicodedata.category(chr(code)) == category
    )


_SYMBOLS = _characters("Sc")

_CURRENCY = re.compile(
    rf"(?:[A-Z]{{1,3}}\s?)?[{re.escape(_SYMBOLS)}](?:\s?(?:{_CODES}))?"
    rf"|{_CODES}|{_CURRENCY_WORDS}"
)
"""A symbol, alone or as in US$ and R$; a code; or a usual word."""

_TO_ASCII = {
    **{ord(digit): str(unicodedata.digit(digit)) for digit in _characters("Nd")[10:]},
    **{ord(blank): " " for blank in _characters("Zs")[1:]},
    **{ord(minus): "-" for minus in "−–—﹣－‐‑‒"},
    **{ord(apostrophe): "'" for apostrophe in "’‘ʼ´`′＇"},
    **{
        ord(source): target
        for source, target in zip("٫٬．，％＄￥（）＋", ".,.,%$¥()+", strict=True)
    },
}
"""Digits of every script, blanks that do not break, real minus signs."""

_NOT_ASCII = f"[{''.join(re.escape(chr(code)) for code in _TO_ASCII)}]"

_REPLACED = (
    (r"(\d)([.,]) ?--?( ?\D*)$", r"\1\g<2>0\3"),  # CHF 50.-
    (r"(\d)/-$", r"\1"),  # Rs. 500/-
    (r"([A-Za-z])\.( ?\d)", r"\1\2"),  # Rs.500: no decimal sign
)

_MAY_BE_REPLACED = r"\d[.,/] ?-|[A-Za-z]\. ?\d"

_FIRST_DIGITS = r"^.*?([.,]?\d[\d.,' ]*(?:[eE][-+]?\d+)?).*$"

_PARTS = re.compile(
    r"(?P<open>\(?)(?P<sign>[-+]?)\s?(?P<prefix>(?:[^\d\s.,'()+-][^\d,'()+-]*?)?)\s?"
    r"(?P<open2>\(?)(?P<sign2>[-+]?)\s?"
    r"(?P<digits>(?:\d[\d.,' ]*(?<![ '])|[.,]\d+)(?:[eE][-+]?\d+)?)\s?"
    r"(?P<close2>\)?)(?P<sign3>-?)\s?(?P<suffix>(?:[^\d\s()+-][^()+]*?)?)(?P<close>\)?)(?P<sign4>-?)"
)
"""Sign or parenthesis, currency, digits, sign, currency or unit, parenthesis or sign."""


_UNIT = re.compile(r"/?[^\W\d_][^\d]*|[°µ]\D*|[%‰\"″′]")

_MULTIPLIED = re.compile(r"([A-Za-z]+)\.?\s?(.*)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Amounts:
    """Distinct texts taken apart.

    Attributes:
        digits: Of each shape, with points, commas and blanks, without sign; NaN where it is none.
        factors: What the digits' number is to be multiplied by: a sign, and thousands.
        format: What stood around the digits, for people; empty for nothing.
        remarks: Why a column of amounts is none, if so.
    """

    digits: "pd.Series[Any]"
    factors: NDArray[np.float64]
    format: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()


class _Affix(NamedTuple):
    """What stands around digits."""

    currency: str = ""
    unit: str = ""
    multiplier: str = ""


def plain_characters(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return texts with ASCII digits, blanks, minus signs and apostrophes, and dashes undone."""
    foreign = texts.str.contains(_NOT_ASCII)
    if foreign.any():
        texts = texts.where(~foreign, texts[foreign].str.translate(_TO_ASCII).reindex(texts.index))
    if texts.str.contains(_MAY_BE_REPLACED).any():
        for pattern, replacement in _REPLACED:
            texts = texts.str.replace(pattern, replacement, regex=True)
    return texts


def digit_shapes(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return texts with 9 for every digit, but for a zero that numbers begin with.

    Amounts are taken apart by their shapes, of which a million of them have some dozens.
    """
    marked = texts.str.replace(r"^(\D*)0", "\\1\x00", regex=True)
    return marked.str.replace(r"\d", "9", regex=True).str.replace("\x00", "0", regex=False)


def first_digits(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the digits of amounts, with points, commas and blanks, without what stands around."""
    return texts.str.replace(_FIRST_DIGITS, r"\1", regex=True).str.strip()


def split_amounts(
    shapes: "pd.Series[Any]", counts: NDArray[np.int64], distinct: NDArray[np.int64]
) -> Amounts:
    """Take the distinct texts of a column apart.

    Args:
        shapes: Of the texts, as `digit_shapes` makes them.
        counts: Rows of each.
        distinct: Distinct texts of each.
    """
    parts = _take_apart(shapes)
    fits = parts["digits"].notna()
    remarks: list[Remark] = []
    labels: list[str] = []
    for kind in ("currency", "unit"):
        rows = _rows_of(parts[kind][fits], counts[fits.to_numpy()])
        if not rows:
            continue
        usual = next(iter(rows))
        is_single = rows[usual] >= DOMINANT_SHARE * sum(rows.values())
        many_values = distinct[fits.to_numpy()].sum() > MIN_DISTINCT_VALUES
        # A letter behind a few numbers is a part of their names: 136, 136A, 136B.
        is_usual = sum(rows.values()) >= MIN_UNIT_SHARE * counts[fits.to_numpy()].sum()
        is_number = bool(usual == "%" or kind == "currency" or labels or (many_values and is_usual))
        # Few values with a word behind them are categories: '36 months', '60 months'.
        accepted = ["", usual] if is_single and is_number else [""]
        if not is_single and is_number and len(rows) <= MAX_TOLD_UNITS:
            what = "currencies" if kind == "currency" else "units"
            remarks.append(
                Remark(f"numbers of different {what} cannot be compared", format_counts(rows))
            )
        elif usual in accepted:
            labels.append("per cent" if usual == "%" else f"in {usual}")
        fits &= parts[kind].isin(accepted)
    multipliers = _rows_of(parts["multiplier"][fits], counts[fits.to_numpy()])
    if multipliers and not _are_multiplied(parts[fits], counts[fits.to_numpy()]):
        fits &= parts["multiplier"] == ""
    elif multipliers:
        labels.append(f"{' and '.join(map(repr, multipliers))} multiplied out")
    if (parts["sign"][fits] == "()").any():
        labels.append("parentheses negative")
    factors = parts["multiplier"].str.lower().map(_MULTIPLIERS).fillna(1.0).to_numpy(np.float64)
    return Amounts(
        digits=parts["digits"].where(fits),
        factors=np.where(parts["sign"].isin(["-", "()"]), -factors, factors),
        format=tuple(labels),
        remarks=tuple(remarks),
    )


def _are_multiplied(parts: pd.DataFrame, counts: NDArray[np.int64]) -> bool:
    """Return whether letters behind numbers multiply them, rather than name them as in 208b."""
    letters = parts["multiplier"] != ""
    if (parts["currency"] != "").any():
        return True
    is_usual = counts[letters.to_numpy()].sum() >= MIN_UNIT_SHARE * counts.sum()
    has_decimals = parts["digits"][letters].str.contains("[.,]").any()
    # "10.4 b" among many plain numbers is one with a footnote.
    is_flag = parts["multiplier"][letters].isin(_MAYBE_UNITS).any()
    return bool(is_usual or (has_decimals and not is_flag))


def _take_apart(shapes: "pd.Series[Any]") -> pd.DataFrame:
    """Return digits (NaN where a text is no amount), sign, currency, unit and multiplier."""
    matched = shapes.str.extract(rf"^{_PARTS.pattern}$").fillna("")
    signs = matched["sign"] + matched["sign2"] + matched["sign3"] + matched["sign4"]
    opened = matched["open"] + matched["open2"]
    closed = matched["close"] + matched["close2"]
    signs = signs.mask(opened != "", "(" + signs + ")")
    pairs = list(zip(matched["prefix"], matched["suffix"], strict=True))
    affixes = {pair: _read_affix(*pair) for pair in set(pairs)}
    valid = (
        np.array([affixes[pair] is not None for pair in pairs], dtype=bool)
        & (matched["digits"] != "")
        & signs.isin(["", "+", "-", "()"])
        & (opened.str.len() == closed.str.len())
    )
    parts = pd.DataFrame(
        [affixes[pair] or _Affix() for pair in pairs], columns=_Affix._fields, index=shapes.index
    )
    parts = parts.assign(
        digits=matched["digits"].where(valid), sign=signs, unit=_one_spelling(parts["unit"])
    )
    behind = set(parts["multiplier"][valid])
    if len(behind) == 1 and not set(parts["currency"][valid]) - {""}:
        (word,) = behind
        if word.lower() in _MAYBE_UNITS:
            parts["unit"], parts["multiplier"] = word, ""
    return parts


def _read_affix(prefix: str, suffix: str) -> _Affix | None:
    """Return what stands before and behind digits; None where that makes no amount."""
    before, behind = _currency(prefix), _currency(suffix)
    if prefix == "%" and not suffix:
        return _Affix(unit="%")
    if prefix and before is None:
        return None
    if not suffix or (behind and not prefix):
        return _Affix(currency=before or behind or "")
    multiplied = _MULTIPLIED.fullmatch(suffix)
    if multiplied and multiplied[1].lower() in _MULTIPLIERS:
        currency = _currency(multiplied[2])
        if not multiplied[2] or (currency and not prefix):
            return _Affix(currency=before or currency or "", multiplier=multiplied[1])
    if len(suffix) <= MAX_UNIT_LENGTH and _UNIT.fullmatch(suffix):
        return _Affix(currency=before or "", unit=suffix.rstrip("."))
    return None


def _one_spelling(units: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return units with 'kg', 'Kg', or 'year' and 'years', each as the commoner of them."""
    spellings: dict[str, str] = {}
    for unit in units.value_counts().index:
        spellings.setdefault(
            unit.lower().removesuffix("s") if len(unit) > 3 else unit.lower(), unit
        )
    keys = units.str.lower()
    return keys.where(units.str.len() <= 3, keys.str.removesuffix("s")).map(spellings)


def _currency(text: str) -> str | None:
    """Return a currency's usual name; None where the text is none."""
    if not _CURRENCY.fullmatch(text):
        return None
    name = text.replace(" ", "").rstrip(".")
    lower = name.lower().removesuffix("s")
    return _SAME_CURRENCY.get(name) or _SAME_CURRENCY.get(lower, name)


def _rows_of(words: "pd.Series[Any]", counts: NDArray[np.int64]) -> dict[str, int]:
    """Return the rows of each word that is not empty, the commonest first."""
    rows: Counter[str] = Counter()
    for word, number in zip(words, counts.tolist(), strict=True):
        if word:
            rows[word] += number
    return dict(rows.most_common())
