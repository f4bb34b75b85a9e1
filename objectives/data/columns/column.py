"""A column of text, taken as numbers, dates, true/false or words.

Formats are properties of the file and decided by all rows; what is learnt (medians, scales,
categories) comes from the training rows alone, later. In a column of words only the empty field is
a gap, and what the user names; among numbers and dates the usual words for a missing value are, and
other words where they are rare.

Entry points: `read_column` for one column, `read_columns` for a table of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .clock_time import parse_clock_times
from .date_format import ParsedDates, are_compact_dates, parse_dates
from .decimal_sign import DecimalSign
from .missing_words import MIN_DISTINCT_VALUES, accept_as_missing, is_missing_word
from .number_format import ParsedNumbers, parse_numbers
from .reading import ColumnKind, ColumnReading, Remark, format_counts
from .spelling import capitals_remark, merge_remark, trim

T = TypeVar("T")

TRUE_FALSE = {"true": True, "false": False}

MIN_TOLD_SHARE = 0.5
"""Share of numbers (dates) from which a column of words is said to hold them too."""


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """How the columns of a file are written, as far as some of them prove it.

    Attributes:
        decimal: The decimal sign; None where nothing or both are proven.
        day_first: The order of days and months, likewise.
    """

    decimal: DecimalSign | None = None
    day_first: bool | None = None


NO_CONVENTIONS = Conventions()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Texts:
    """The distinct texts of a column.

    Attributes:
        distinct: Without blanks around them, none empty or missing, in the order of the rows.
        counts: Rows of each.
        text_of: For each row, the number of its text; -1 for a gap.
        index: The rows' labels.
        merged: On texts that became one; None where none did.
    """

    distinct: "pd.Series[Any]"
    counts: NDArray[np.int64]
    text_of: NDArray[np.int64]
    index: pd.Index
    merged: Remark | None

    def spread(self, values: "pd.Series[Any]") -> "pd.Series[Any]":
        """Return the values of distinct texts as one a row, gaps as missing."""
        return values.reindex(self.text_of).set_axis(self.index)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parsed:
    """A reading, with what it proves of the file and what it leaves open."""

    reading: ColumnReading
    proven: Conventions = NO_CONVENTIONS
    is_ambiguous: bool = False


def read_columns(
    table: pd.DataFrame, missing: Sequence[str] = (), likely: Conventions = NO_CONVENTIONS
) -> list[ColumnReading]:
    """Return what each column of a table of text is taken as, in the table's order.

    A column that can be read in two ways is read as the others of the file are.

    Args:
        table: Columns of str; an empty field is ''. Not changed.
        missing: Words that stand for a missing value, besides the empty field.
        likely: What the file's form says, for where no column proves anything.
    """
    columns = [(str(name), table.iloc[:, place]) for place, name in enumerate(table.columns)]
    parsed = [_parse(column, name, missing, NO_CONVENTIONS) for name, column in columns]
    conventions = Conventions(
        decimal=_agreed([one.proven.decimal for one in parsed], likely.decimal),
        day_first=_agreed([one.proven.day_first for one in parsed], likely.day_first),
    )
    return [
        _parse(column, name, missing, conventions).reading if one.is_ambiguous else one.reading
        for one, (name, column) in zip(parsed, columns, strict=True)
    ]


def read_column(
    column: "pd.Series[Any]",
    name: str,
    missing: Sequence[str] = (),
    conventions: Conventions = NO_CONVENTIONS,
) -> ColumnReading:
    """Return what a column of text is taken as.

    Args:
        column: Of str, one value a row; an empty field is '' or NaN. Not changed.
        name: For people.
        missing: Words that stand for a missing value, besides the empty field.
        conventions: How the file's other columns are written.
    """
    return _parse(column, name, missing, conventions).reading


def _agreed(proven: Sequence[T | None], likely: T | None) -> T | None:
    """Return what all columns that prove something prove; the likely where none does."""
    distinct = {value for value in proven if value is not None}
    if len(distinct) > 1:
        return None
    return distinct.pop() if distinct else likely


def _parse(
    column: "pd.Series[Any]", name: str, missing: Sequence[str], conventions: Conventions
) -> _Parsed:
    texts = _distinct_texts(column, missing)
    if texts.distinct.empty:
        values = pd.Series(pd.NA, index=column.index, dtype="str")
        empty = ColumnReading(name=name, kind=ColumnKind.TEXT, values=values, empty=len(column))
        return _Parsed(reading=empty)
    if are_compact_dates(texts.distinct):
        return _dates(texts, name, parse_dates(texts.distinct, texts.counts))
    numbers = parse_numbers(texts.distinct, texts.counts, conventions.decimal)
    is_number = ~np.isnan(numbers.values)
    if accept_as_missing(texts.distinct, texts.counts, is_number):
        return _numbers(texts, name, numbers)
    flags = texts.distinct.str.lower().map(TRUE_FALSE)
    if flags.notna().any() and (flags.notna() | is_missing_word(texts.distinct)).all():
        values = texts.spread(flags.astype("boolean"))
        return _Parsed(reading=_reading(texts, name, ColumnKind.TRUE_FALSE, values, ""))
    dates = parse_dates(texts.distinct, texts.counts, conventions.day_first)
    is_date = dates.values.notna().to_numpy()
    if accept_as_missing(texts.distinct, texts.counts, is_date):
        return _dates(texts, name, dates)
    hours = parse_clock_times(texts.distinct)
    if accept_as_missing(texts.distinct, texts.counts, ~np.isnan(hours)):
        return _numbers(texts, name, ParsedNumbers(values=hours, format="clock times, in hours"))
    return _Parsed(reading=_words(texts, name, numbers, is_date))


def _distinct_texts(column: "pd.Series[Any]", missing: Sequence[str]) -> _Texts:
    raw_of, raw = pd.factorize(column.astype("str"))
    raw_texts = pd.Series(raw, dtype="str")
    trimmed = trim(raw_texts)
    text_of_raw, distinct = pd.factorize(trimmed)
    merged = (
        None if len(distinct) == len(raw) else merge_remark(raw_texts.tolist(), trimmed.tolist())
    )
    texts = pd.Series(distinct, dtype="str")
    kept = ~_is_named(texts, missing)
    number_of = np.where(kept, np.cumsum(kept) - 1, -1)
    text_of = np.full(len(column), -1, dtype=np.int64)
    present = raw_of >= 0
    text_of[present] = number_of[text_of_raw[raw_of[present]]]
    return _Texts(
        distinct=texts[kept].reset_index(drop=True),
        counts=np.bincount(text_of[text_of >= 0], minlength=int(kept.sum())).astype(np.int64),
        text_of=text_of,
        index=column.index,
        merged=merged,
    )


def _is_named(texts: "pd.Series[Any]", missing: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether texts are empty or a word that the user named; -999 is also -999.0."""
    words = trim(pd.Series(list(missing), dtype="str"))
    numbers = pd.to_numeric(words, errors="coerce").dropna()
    named = texts.isin(["", *words])
    if len(numbers):
        named |= pd.to_numeric(texts, errors="coerce").isin(numbers)
    return named.to_numpy(dtype=bool)


def _reading(
    texts: _Texts,
    name: str,
    kind: ColumnKind,
    values: "pd.Series[Any]",
    format_note: str,
    remarks: Sequence[Remark] = (),
) -> ColumnReading:
    """Return a reading whose rows with a text but without a value are named as gaps."""
    lost = values.isna().to_numpy() & (texts.text_of >= 0)
    rows = np.bincount(texts.text_of[lost], minlength=len(texts.distinct))
    order = np.argsort(-rows, kind="stable")[: np.count_nonzero(rows)]
    return ColumnReading(
        name=name,
        kind=kind,
        values=values,
        empty=int((texts.text_of < 0).sum()),
        missing_words={texts.distinct[number]: int(rows[number]) for number in order.tolist()},
        format=format_note,
        remarks=tuple(remarks),
    )


def _numbers(texts: _Texts, name: str, numbers: ParsedNumbers) -> _Parsed:
    values = texts.spread(pd.Series(numbers.values))
    return _Parsed(
        reading=_reading(texts, name, ColumnKind.NUMBER, values, numbers.format, numbers.remarks),
        proven=Conventions(decimal=numbers.proven_sign),
        is_ambiguous=numbers.is_ambiguous,
    )


def _dates(texts: _Texts, name: str, dates: ParsedDates) -> _Parsed:
    values = texts.spread(dates.values.reset_index(drop=True))
    return _Parsed(
        reading=_reading(texts, name, ColumnKind.DATE, values, dates.format, dates.remarks),
        proven=Conventions(day_first=dates.day_first),
        is_ambiguous=dates.is_ambiguous,
    )


def _words(
    texts: _Texts, name: str, numbers: ParsedNumbers, is_date: NDArray[np.bool_]
) -> ColumnReading:
    remarks = list(numbers.remarks)
    for is_value, what in ((~np.isnan(numbers.values), "numbers"), (is_date, "dates")):
        share = texts.counts[is_value].sum() / texts.counts.sum()
        if is_value.sum() > MIN_DISTINCT_VALUES and share >= MIN_TOLD_SHARE:
            others = texts.distinct[~is_value]
            rows = dict(zip(others, texts.counts[~is_value].tolist(), strict=True))
            commonest = dict(sorted(rows.items(), key=lambda item: -item[1]))
            remarks.append(
                Remark(
                    f"words among {what}: name those that stand for a missing value by --missing",
                    f"{share:.0%} {what}, beside {format_counts(commonest)}",
                )
            )
            break
    counts = dict(zip(texts.distinct, texts.counts.tolist(), strict=True))
    remarks.extend(filter(None, (texts.merged, capitals_remark(counts))))
    return _reading(texts, name, ColumnKind.TEXT, texts.spread(texts.distinct), "", remarks)
