"""Texts as dates, in the forms that people write; pandas parses them.

A text is tidied (weekday, name of the month, a clock time and zone behind the date), then formats
are tried on all values of the column together: the one that reads most rows is taken, and a second
and third for what it leaves. So "05/04/2020" is the 5th of April beside "13/04/2020", and the 4th
of May beside "04/13/2020". Where no value tells, it is the order in which all dates are the same
day of their months, or in which they only rise or only fall; then that of the file's other columns;
then the month is first beside AM and PM, else the day.

Entry points: `parse_dates`, `are_compact_dates`.
"""

import re
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .clock_time import CLOCK, HALF, ZONE, clock_hours, zone_hours
from .reading import Remark

MAX_FORMATS = 3
"""Formats that the dates of one column may have."""

MIN_COMPACT_DATES = 10
"""Distinct values from which on figures that are all dates ("20201231") are dates."""

SAMPLE_SIZE = 2000
"""Distinct texts by which a column with more is judged first."""

POSIX_FIRST_YEAR = 1969
"""Of the hundred that two digits stand for, unless a column's years lie on both sides of it."""

MIN_DATES = 0.5
"""Share of the rows that must look like dates for the formats to be tried."""

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_ENDINGS = "uary|ruary|ch|il|e|y|ust|t|tember|ober|ember"
_MONTH = rf"({_MONTHS})(?:{_ENDINGS})?"
_WEEKDAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?"

_DATE_AND_CLOCK = rf"^(.*?\d.*?)(?:(?:[ ,t]+|:){CLOCK}{HALF} ?{ZONE}?)?$"

_LIKELY = (
    rf"\d[-/. ]\d\d?[-/. ]\d|^\d{{4}}[-/.]\d\d$|^\d\d?[-/.]\d{{4}}$|"
    rf"\b(?:{_MONTHS})(?:{_ENDINGS})?\b|\d(?:{_MONTHS})\d|年|^\d{{8}}|q[1-4]"
)

_ISO = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"

_COMPACT = (
    r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])",
    r"(?:0[1-9]|1[0-2])\.(?:19|20)\d\d",
)
"""Year, month and day, or month and year, that would be numbers too."""

_REARRANGED = (
    (r"^(\d{1,2}:\d\d(?::\d\d)?(?: ?[ap]m)?),? +(.*\d.*)$", r"\2 \1"),  # 23:59 31/12/2020
    (r"^(\d{8})t(\d\d)(\d\d)(\d\d)(\D|$)", r"\1 \2:\3:\4\5"),  # 20200115T103000Z
    (
        rf"^(?:{_WEEKDAY} )?([a-z]{{3}} +\d\d?) (\d\d:\d\d:\d\d) ([-+]?\w{{3,4}} |)(\d{{4}})$",
        r"\1 \4 \2 \3",  # Wed Jan 15 10:00:00 UTC 2020, as C and Unix write
    ),
)

_TIDIED = (
    (rf"^{_WEEKDAY}\.?,? +", ""),
    (r"(\d)(?:st|nd|rd|th)\b", r"\1"),
    (r"^(\d{4}) ?年 ?(\d\d?) ?月 ?(\d\d?) ?日$", r"\1-\2-\3"),
    (r"^q([1-4])[-/' ]{0,2}(\d{4})$", r"\2 q\1"),
    (r"^(\d{4})[-/ ]?q1$", r"\1-01"),
    (r"^(\d{4})[-/ ]?q2$", r"\1-04"),
    (r"^(\d{4})[-/ ]?q3$", r"\1-07"),
    (r"^(\d{4})[-/ ]?q4$", r"\1-10"),
    (rf"^{_MONTH}[-/]?['’-](\d\d)$", r"\1 '\2"),
    (r"(\d.*)['’](\d\d)$", r"\1\2"),  # 15 Jan '20
    (rf"(^|\d)[-./, ]*{_MONTH}[-./, ]*(\d|$)", r"\1 \2 \3"),
    (r",", " "),
    (r" +", " "),
)
"""Patterns in dates of lower case, and what they become."""

_NUMERIC_ORDERS = tuple(
    f"{first}{separator}{second}{separator}{year}"
    for separator in "./- "
    for year in ("%Y", "%y")
    for first, second in (("%d", "%m"), ("%m", "%d"))
)

_FORMATS = (
    *(f"%Y{separator}%m{separator}%d" for separator in "-/."),
    *_NUMERIC_ORDERS,
    *(f"{day} {year}" for day in ("%d %b", "%b %d") for year in ("%Y", "%y")),
    *("%Y %b %d", "%b %Y", "%Y %b", "%b '%y", "%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%m.%Y"),
    "%Y%m%d",
)
"""Tried on a whole column; of two that read as much, the first is taken."""

_PATTERNS = {
    date_format: re.escape(date_format)
    .replace("%Y", r"\d{4}")
    .replace("%y", r"\d\d")
    .replace("%b", "[a-z]{3}")
    .replace("%m", r"\d\d?")
    .replace("%d", r"\d\d?")
    for date_format in _FORMATS
}
"""What a text must look like for a format to be worth trying."""

_DIRECTIVES = {"%Y": "year", "%y": "two-digit year", "%m": "month", "%b": "month", "%d": "day"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ParsedDates:
    """Distinct texts as dates.

    Attributes:
        values: Of each text, in UTC; NaT where it is none.
        format: How they are written, for people.
        remarks: What else a person should know.
        day_first: The order of days and months in figures, where some value proves it.
        is_ambiguous: Whether the other order would make other dates of all of them.
    """

    values: "pd.Series[Any]"
    format: str = ""
    remarks: tuple[Remark, ...] = ()
    day_first: bool | None = None
    is_ambiguous: bool = False


def are_compact_dates(texts: "pd.Series[Any]") -> bool:
    """Return whether texts that are numbers, such as "20201231", are dates all the same.

    Args:
        texts: Distinct.
    """
    return any(
        len(texts) >= MIN_COMPACT_DATES and bool(texts.str.fullmatch(pattern).all())
        for pattern in _COMPACT
    )


def parse_dates(
    texts: "pd.Series[Any]", counts: NDArray[np.int64], day_first: bool | None = None
) -> ParsedDates:
    """Return the distinct texts of a column as dates, as far as they are such.

    Args:
        texts: Distinct, of dtype str, without blanks around them, in the order of the rows.
        counts: Rows of each.
        day_first: The order in the file's other columns.
    """
    if len(texts) and texts.str.fullmatch(_ISO).all():
        values = _to_utc(texts, "ISO8601")
        if values.notna().all():
            return ParsedDates(values=values, format="year, month, day")
    lower = texts.str.lower()
    likely = lower.str.contains(_LIKELY).to_numpy(dtype=bool)
    if counts[likely].sum() < MIN_DATES * counts.sum() or not _has_dates(texts):
        return ParsedDates(values=_no_dates(texts))
    for pattern, replacement in _REARRANGED:
        lower = lower.str.replace(pattern, replacement, regex=True)
    lower = lower.str.strip()
    parts = lower.str.extract(_DATE_AND_CLOCK, flags=re.ASCII)
    date_of, dates = pd.factorize(parts[0].fillna(""))
    rows = np.bincount(date_of, weights=counts, minlength=len(dates)).astype(np.int64)
    is_told = day_first is not None
    if not is_told and parts[2].notna().any():
        day_first = False
    calendar = _parse_calendar_dates(
        _tidy(pd.Series(dates, dtype="str")), rows, day_first, is_told=is_told
    )
    hours = clock_hours(parts[1], parts[2]) - zone_hours(parts[3])
    hours = hours.where(hours.abs() <= 48)
    days = calendar.values.iloc[date_of].set_axis(texts.index)
    times = pd.to_timedelta(hours, unit="h").dt.round("us").astype("timedelta64[us]")
    return replace(calendar, values=days + times)


def _has_dates(texts: "pd.Series[Any]") -> bool:
    """Return whether a sample of very many distinct texts holds dates."""
    if len(texts) <= SAMPLE_SIZE:
        return True
    sample = texts.iloc[np.linspace(0, len(texts) - 1, SAMPLE_SIZE).astype(int)]
    ones = np.ones(len(sample), dtype=np.int64)
    return bool(parse_dates(sample, ones).values.notna().mean() >= MIN_DATES)


def _parse_calendar_dates(
    dates: "pd.Series[Any]", rows: NDArray[np.int64], day_first: bool | None, *, is_told: bool
) -> ParsedDates:
    """Parse distinct dates without clock times, each in the first format that serves it."""
    parsed = {
        date_format: _to_utc(dates, date_format)
        for date_format, pattern in _PATTERNS.items()
        if dates.str.fullmatch(pattern).any()
    }
    values = _no_dates(dates)
    chosen: list[str] = []
    is_ambiguous = False
    first_year = None
    while len(chosen) < MAX_FORMATS and values.isna().any():
        left = values.isna().to_numpy()
        reads = {
            date_format: int(rows[left & parsed[date_format].notna().to_numpy()].sum())
            for date_format in parsed
            if _swapped(date_format) not in chosen
        }
        best = max(reads, key=lambda date_format: reads[date_format], default="")
        if not reads.get(best):
            break
        other = _swapped(best)
        if other in reads and parsed[other].notna().equals(parsed[best].notna()):
            earlier_order = [_is_day_first(one) for one in chosen if _swapped(one)]
            if earlier_order:
                best = best if _is_day_first(best) == earlier_order[0] else other
            else:
                is_ambiguous = True
                best = _choose_order(best, other, parsed, day_first)
        chosen.append(best)
        read = parsed[best]
        if "%y" in best:
            first_year = _first_year(read)
            is_late = read.dt.year >= first_year + 100
            read = read.where(~is_late, read - pd.DateOffset(years=100))
        values = values.fillna(read)
    orders = {_is_day_first(one) for one in chosen if _swapped(one)}
    return ParsedDates(
        values=values,
        format=" or ".join(dict.fromkeys(map(_describe, chosen))),
        remarks=_remarks(
            chosen,
            as_told=day_first if is_told else None,
            first_year=first_year,
            is_ambiguous=is_ambiguous,
            dates=dates,
            values=values,
        ),
        day_first=orders.pop() if len(orders) == 1 and not is_ambiguous else None,
        is_ambiguous=is_ambiguous,
    )


def _choose_order(
    best: str, other: str, parsed: dict[str, "pd.Series[Any]"], day_first: bool | None
) -> str:
    """Return which of two orders of day and month to take where every date fits both."""
    for is_regular in (_has_one_day, _only_rises_or_falls):
        regular = [one for one in (best, other) if is_regular(parsed[one])]
        if len(regular) == 1:
            return regular[0]
    return best if _is_day_first(best) == (day_first is not False) else other


def _has_one_day(values: "pd.Series[Any]") -> bool:
    """Return whether dates are those of months or quarters, such as the first of each."""
    present = values.dropna()
    return len(present) > 1 and present.dt.day.nunique() == 1


def _only_rises_or_falls(values: "pd.Series[Any]") -> bool:
    present = values.dropna()
    return present.is_monotonic_increasing or present.is_monotonic_decreasing


def _first_year(values: "pd.Series[Any]") -> int:
    """Return the first of the hundred years that the two digits of a column stand for.

    Dates on both sides of Posix's first year, such as births in 1930 to 1989, belong to one
    stretch of years: it begins after the longest one without a date.
    """
    years = np.unique(values.dropna().dt.year.to_numpy())
    if not len(years):
        return POSIX_FIRST_YEAR
    gaps = np.diff(np.append(years, years[0] + 100))
    start = int(years[(int(gaps.argmax()) + 1) % len(years)])
    return start - 100 if years[0] < 2000 < start else POSIX_FIRST_YEAR


def _remarks(
    chosen: list[str],
    *,
    as_told: bool | None,
    first_year: int | None,
    is_ambiguous: bool,
    dates: "pd.Series[Any]",
    values: "pd.Series[Any]",
) -> tuple[Remark, ...]:
    remarks = []
    if is_ambiguous:
        example = values.notna() & (values.dt.day != values.dt.month)
        if example.any():
            first = example.idxmax()
            order = next(_is_day_first(one) for one in chosen if _swapped(one))
            remarks.append(
                Remark(
                    "day and month are in the order of the file's other columns"
                    if order == as_told
                    else "no value tells day from month",
                    f"'{dates[first]}' is read as {values[first]:%Y-%m-%d}",
                )
            )
    if first_year is not None:
        remarks.append(Remark(f"two-digit years are read as {first_year} to {first_year + 99}"))
    return tuple(remarks)


def _describe(date_format: str) -> str:
    directives = re.findall(r"%\w", date_format)
    return ", ".join(_DIRECTIVES[directive] for directive in directives)


def _swapped(date_format: str) -> str | None:
    """Return the format with day and month in the other order; None where names tell them."""
    if date_format not in _NUMERIC_ORDERS:
        return None
    return date_format.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")


def _is_day_first(date_format: str) -> bool:
    return date_format.startswith("%d")


def _tidy(dates: "pd.Series[Any]") -> "pd.Series[Any]":
    for pattern, replacement in _TIDIED:
        dates = dates.str.replace(pattern, replacement, regex=True)
    return dates.str.strip()


def _to_utc(texts: "pd.Series[Any]", date_format: str) -> "pd.Series[Any]":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mixed time zones: `utc` makes them one
        parsed = pd.to_datetime(texts, errors="coerce", format=date_format, utc=True)
    return parsed.astype("datetime64[us, UTC]")


def _no_dates(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    return pd.Series(pd.NaT, index=texts.index, dtype="datetime64[us, UTC]")
