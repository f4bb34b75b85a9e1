"""A target column of text: which of its words are classes, numbers, or missing.

A word among numbers ("?", "NA") is a missing target, and the notes name it with its rows. It is a
class where it has more than 5 % of the rows of a classification: so many rows are not dropped
unless the user names the word. Among quantities it is refused where it has as many and is none of
the usual words for a missing value.

Entry point: `read_text_target` makes a `TextTarget`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .columns.missing_words import is_missing_word
from .columns.reading import (
    ColumnKind,
    ColumnReading,
    cut_list,
    format_counts,
    format_words,
    reading_notes,
)
from .columns.spelling import trim
from .dataset import Task
from .table import FloatArray

MAX_DROPPED_SHARE = 0.05
"""Share of the rows up to which they are dropped for a word that the user did not name."""

MAX_TOLD_NUMBERS = 20
"""Distinct numbers of a regression up to which those that are written in two ways are told."""

_MAYBE_MISSING = ("?", "-", "na", "n/a", "nan", "null", "none", "unknown", "unk", "missing", "#n/a")
"""Words, in lower case, that a note tells of where they are classes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTarget:
    """A column of text as a target.

    Attributes:
        reading: What the column was taken as.
        texts: One a row, without blanks around them; NaN for gaps.
    """

    reading: ColumnReading
    texts: "pd.Series[Any]"

    @property
    def numbers(self) -> FloatArray | None:
        """The values as float64, with NaN for gaps; None where they are no numbers."""
        if self.reading.kind != ColumnKind.NUMBER:
            return None
        return self.reading.values.to_numpy(dtype=np.float64)

    @property
    def code_numbers(self) -> FloatArray | None:
        """Codes with leading zeros as numbers, for a regression that was asked for."""
        numbers = pd.to_numeric(self.texts, errors="coerce")
        if not numbers.notna().equals(self.texts.notna()):
            return None
        return numbers.to_numpy(dtype=np.float64, na_value=np.nan)

    @property
    def labels(self) -> "pd.Series[Any]":
        """The class of each row as text; NaN for gaps."""
        if self.reading.kind == ColumnKind.NUMBER:
            names = self.number_names
            plain = self.reading.values.map(
                lambda number: names.get(number, f"{number:.15g}"), na_action="ignore"
            )
            return plain.astype("str").fillna(self.texts)
        if self.reading.kind != ColumnKind.TRUE_FALSE:
            return self.texts
        flags = self.reading.values
        texts = self.texts.where(flags.notna())
        if texts.nunique() > 2:  # 'TRUE' and 'True' of joined files are one class
            texts = flags.map({True: "True", False: "False"}).astype("str")
        return texts.fillna(self.texts) if self.words_are_classes else texts

    @property
    def words_are_classes(self) -> bool:
        """Whether the words among the numbers have too many rows to be dropped unasked."""
        rows = len(self.texts) - self.reading.empty
        return sum(self.reading.missing_words.values()) > MAX_DROPPED_SHARE * rows

    @property
    def number_names(self) -> Mapping[float, str]:
        """How each number is written most often, where that is not plain: '$5', '10%'."""
        return (
            {number: next(iter(rows)) for number, rows in self._spellings().items()}
            if (self.reading.format)
            else {}
        )

    def require_no_dates(self) -> None:
        """Raise DataError where the column holds dates."""
        if self.reading.kind == ColumnKind.DATE:
            raise DataError(
                f"target '{self.reading.name}' holds dates (such as "
                f"{format_words(self.texts.dropna().unique()[:2])}): choose a column of classes or "
                "numbers."
            )

    def require_few_odd_words(self) -> None:
        """Raise DataError where words that stand for nothing known have many rows of quantities."""
        words = self.reading.missing_words
        unusual = ~is_missing_word(pd.Series(list(words), dtype="str"))
        odd = {
            word: rows
            for (word, rows), is_odd in zip(words.items(), unusual, strict=True)
            if is_odd
        }
        rows = len(self.texts) - self.reading.empty
        if sum(odd.values()) > MAX_DROPPED_SHARE * rows:
            raise DataError(
                f"target '{self.reading.name}' holds numbers beside the words "
                f"{format_counts(odd)}, in {sum(odd.values()) / rows:.0%} of its rows: name those "
                f"that stand for a missing value by --missing (missing = {list(odd)[:3]} in "
                "[proxy]), which drops their rows."
            )

    def notes(self, task: Task, classes: Mapping[str, int]) -> list[str]:
        """Return sentences on how the target was read.

        Args:
            task: What it was recognised as.
            classes: Rows of each class; empty for quantities.
        """
        words = self.reading.missing_words
        name = self.reading.name
        notes = list(reading_notes([replace(self.reading, missing_words={})]))
        dropped = {word: rows for word, rows in words.items() if word not in classes}
        if dropped:
            notes.append(
                f"took these words of target '{name}' as missing: {format_counts(dropped)}"
            )
        suspected = {
            word: rows
            for word, rows in classes.items()
            if word in words or word.lower() in _MAYBE_MISSING
        }
        if suspected:
            notes.append(
                f"these words are classes of target '{name}': {format_counts(suspected)}; where "
                "one stands for a missing value, name it by --missing"
            )
        merged = self._merged_spellings(classes)
        if merged:
            examples = cut_list([" and ".join(map(repr, group[:4])) for group in merged], "; ")
            kind = "class" if task == Task.CLASSIFICATION else "number"
            notes.append(f"these values of target '{name}' are one {kind}: {examples}")
        return notes

    def _merged_spellings(self, classes: Mapping[str, int]) -> list[list[str]]:
        """Return the texts that became one class, or one of few numbers."""
        if self.reading.kind == ColumnKind.TRUE_FALSE and self.texts.nunique() > len(classes):
            spellings = self._spellings()
        elif self.reading.kind == ColumnKind.NUMBER and not set(self.texts.dropna()) <= set(
            classes
        ):
            spellings = self._spellings()
            if len(spellings) > MAX_TOLD_NUMBERS:
                return []
        else:
            return []
        return [list(rows) for rows in spellings.values() if len(rows) > 1]

    def _spellings(self) -> dict[float, dict[str, int]]:
        """Return the texts of each number with their rows, the commonest first."""
        values = self.reading.values.astype("float64")
        pairs = Counter(zip(values, self.texts, strict=True))
        spellings: dict[float, dict[str, int]] = {}
        for (number, text), rows in pairs.most_common():
            if number == number:
                spellings.setdefault(number, {})[text] = rows
        return spellings


def read_text_target(texts: "pd.Series[Any]", reading: ColumnReading) -> TextTarget:
    """Return a column of text as a target.

    Args:
        texts: As they stand in the source; '' or NaN for gaps.
        reading: What they were taken as.
    """
    trimmed = trim(texts)
    is_gap = reading.values.isna()
    if reading.missing_words:
        is_gap &= ~trimmed.isin(list(reading.missing_words))
    return TextTarget(reading=reading, texts=trimmed.mask(is_gap))
