"""What a column of text was taken as, and what a person should know about that.

Entry points: `ColumnReading`, which `column.read_column` makes; `reading_notes` for many of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

MAX_LISTED = 8
"""Columns, words or spellings that a note lists at most."""


class ColumnKind(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    DATE = "date"
    TRUE_FALSE = "true/false"
    TEXT = "text"


class Remark(NamedTuple):
    """What a person should know of a column, without the column's name.

    Attributes:
        what: The same words for every column of which it is true.
        details: This column's values, such as "'yes' and 'yes '".
    """

    what: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.details})" if self.details else self.what


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnReading:
    """A column with values instead of text.

    Attributes:
        name: Column name.
        kind: What its values are.
        values: One a row: float64 with NaN for gaps; timestamps in UTC with NaT; `boolean` with
            NA; or str with NaN.
        empty: Rows whose field is empty, or holds a word that the user named as missing.
        missing_words: Other words that were taken as gaps, and the rows of each; the commonest
            first.
        format: How the values are written, such as "decimal commas, per cent"; empty where there
            is nothing to say.
        remarks: What else a person should know.
    """

    name: str
    kind: ColumnKind
    values: "pd.Series[Any]"
    empty: int = 0
    missing_words: Mapping[str, int] = field(default_factory=dict)
    format: str = ""
    remarks: tuple[Remark, ...] = ()

    @property
    def gaps(self) -> int:
        """Rows without a value."""
        return self.empty + sum(self.missing_words.values())

    def describe(self) -> str:
        """Return what the column was taken as, in one line without its name."""
        format_note = f" ({self.format})" if self.format else ""
        words = format_counts(self.missing_words)
        gaps_note = (
            f", {self.gaps} gaps" + (f" (among them {words})" if words else "") if self.gaps else ""
        )
        return "; ".join((f"{self.kind}{format_note}{gaps_note}", *map(str, self.remarks)))


def reading_notes(readings: Sequence[ColumnReading]) -> tuple[str, ...]:
    """Return sentences for the user on what was not plain; columns of one kind share one."""
    formats: dict[str, list[str]] = defaultdict(list)
    remarks: dict[str, list[str]] = defaultdict(list)
    words = []
    for reading in readings:
        if reading.format:
            formats[f"read as {reading.kind}s ({reading.format})"].append(f"'{reading.name}'")
        if reading.missing_words:
            words.append(f"'{reading.name}' {format_counts(reading.missing_words)}")
        for remark in reading.remarks:
            details = f" ({remark.details})" if remark.details else ""
            remarks[remark.what].append(f"'{reading.name}'{details}")
    return (
        *(f"{note}: {cut_list(names)}" for note, names in sorted(formats.items())),
        *([f"took these words as missing: {cut_list(words, '; ')}"] if words else []),
        *(f"{what}: {cut_list(names)}" for what, names in remarks.items()),
    )


def format_counts(counts: Mapping[str, int]) -> str:
    """Return words with their counts, cut off after eight: "'?' (20), '-' (3)"."""
    return cut_list([f"{quote(word)} ({count})" for word, count in counts.items()])


def quote(word: str) -> str:
    """Return a word in quotes, cut off after 40 characters; those that do not show, as escapes."""
    return f"'{word:.40}'" if word.isprintable() else ascii(word[:40])


def format_words(words: Iterable[str]) -> str:
    """Return words in quotes, cut off after three."""
    return cut_list([quote(word) for word in words], most=3)


def cut_list(parts: Sequence[str], separator: str = ", ", most: int = MAX_LISTED) -> str:
    """Return parts in a row, cut off after some."""
    listed = separator.join(parts[:most])
    hidden = len(parts) - most
    return f"{listed} and {hidden} more" if hidden > 0 else listed
