"""Words of a column: blanks around them are dropped, letters written in two ways are one.

Entry points: `trim`, `merge_remark`, `capitals_remark`.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .reading import Remark, cut_list

MAX_COMPARED = 1000
"""Distinct words up to which those that differ in capitals are looked for: more are no classes."""

MAX_EXAMPLES = 3

_BLANKS = " \t\r\n\v\f\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
"""Also those of no width, which nobody sees."""


def trim(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return texts without blanks around them, in Unicode's composed form (NFC).

    Args:
        texts: Of dtype str; NaN stays.
    """
    trimmed = texts.str.replace(rf"^[{_BLANKS}]+|[{_BLANKS}]+$", "", regex=True)
    foreign = trimmed.str.contains(r"[^\x00-\x7f]").fillna(False)
    if foreign.any():
        composed = trimmed[foreign].map(lambda text: unicodedata.normalize("NFC", text))
        trimmed = trimmed.where(~foreign, composed.reindex(trimmed.index))
    return trimmed


def merge_remark(raw: Sequence[str], trimmed: Sequence[str]) -> Remark | None:
    """Return which words became one by trimming; None where none did.

    Args:
        raw: Distinct, as they stand in the file.
        trimmed: Each without blanks.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for word, short in zip(raw, trimmed, strict=True):
        spellings[short].append(word)
    return _remark(
        "merged words that differ only in blanks around them, or in how accents are stored",
        [words for short, words in spellings.items() if short and len(words) > 1],
        {},
    )


def capitals_remark(rows: Mapping[str, int]) -> Remark | None:
    """Return which words differ in capitals or inner blanks only; None where none do.

    Args:
        rows: Of each distinct word.
    """
    if len(rows) > MAX_COMPARED:
        return None
    spellings: dict[str, list[str]] = defaultdict(list)
    for word in rows:
        spellings[" ".join(word.casefold().split())].append(word)
    return _remark(
        "kept words apart that differ in capitals or blanks within",
        [words for words in spellings.values() if len(words) > 1],
        rows,
    )


def _quoted(word: str) -> str:
    """Return a word in quotes, with accents that are stored apart as escapes."""
    return repr(word) if unicodedata.is_normalized("NFC", word) else ascii(word)


def _remark(what: str, groups: Sequence[Sequence[str]], rows: Mapping[str, int]) -> Remark | None:
    if not groups:
        return None
    examples = [
        " and ".join(_quoted(word) + (f" ({rows[word]})" if rows else "") for word in words[:4])
        for words in groups
    ]
    return Remark(what, cut_list(examples, "; ", MAX_EXAMPLES))
