"""Where a table begins in a text file, and whether its first row holds the column names.

Above a table may stand lines that are none of it: titles, comments, blank lines. Whether the first
row of the table is names or values is told by comparing it with the rows below, column by column:

| first row | rows below | speaks for |
|---|---|---|
| text | numbers, or one pattern of digits (dates, codes) | names |
| a number, or their pattern | the same | values |
| text | text, among it the first row's | values |
| numbers that count on (0, 1, 2, …; years) | numbers that do not | names |
| an empty field, and no other | values that are all different | names |

What speaks more often wins; where nothing speaks, it holds names. The user can overrule it.

Entry points: `find_table`, `has_header`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

Record = list[str]

_COMMENT_MARKS = ("#", "%", "//")
_MAX_PREAMBLE = 50
"""Lines above a table at most."""

_GAPS = frozenset(("", "?", "-", ".", "na", "n/a", "nan", "null", "none", "nil", "unknown"))
_NUMBER = re.compile(r"[-+]?[$€£]?\s*(\d[\d\s.,']*|\.\d+|\d*[.,]?\d+[eE][-+]?\d+)\s*[%€]?")
_WHOLE = re.compile(r"\d+")
_MIN_KIND_SHARE = 0.8
"""Share of a column's values that must be of one kind for it to have one."""

_MAX_REPEATED_SHARE = 0.5
"""Distinct values to each row up to which a text column repeats its values."""

_MIN_COUNTED_NAMES = 4
"""Numbers in the first row from which a steady rise of them is no accident."""

_YEARS = range(1500, 2200)


@dataclass(frozen=True, kw_only=True)
class TableStart:
    """Where the table begins.

    Attributes:
        preamble: Records above it, without the blank ones.
        first: Position of its first row among the records.
        width: Fields that most of its rows have.
        commented_names: Column names in the last comment above it; None where there are none.
    """

    preamble: list[Record]
    first: int
    width: int
    commented_names: Record | None


def find_table(records: Sequence[Record], width: int, *, blanks_divide: bool = False) -> TableStart:
    """Return where the table begins among the first records of a file.

    Args:
        records: As read; blank lines are empty records.
        width: Fields that most of them have.
        blanks_divide: Whether fields are divided by blanks, so that prose has fields, too.
    """

    def stands_above(record: Record) -> bool:
        is_header = not blanks_divide and len(record) == width and record[0] in _COMMENT_MARKS
        return not is_header and (is_comment(record) or _is_title(record, width))

    filled = [position for position, record in enumerate(records) if not is_blank(record)]
    above = list(
        takewhile(lambda position: stands_above(records[position]), filled[:_MAX_PREAMBLE])
    )
    if len(above) in (_MAX_PREAMBLE, len(filled)):
        above = []  # no table below it: all of it is the table
    first = filled[len(above)] if filled else 0
    preamble = [records[position] for position in above]
    return TableStart(
        preamble=preamble,
        first=first,
        width=width,
        commented_names=_commented_names(preamble, width),
    )


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: `1 line`, `2 lines`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_blank(record: Record) -> bool:
    """Return whether nothing stands in a record."""
    return not any(field and not field.isspace() for field in record)


def is_comment(record: Record) -> bool:
    """Return whether a record begins as comments do."""
    return bool(record) and record[0].startswith(_COMMENT_MARKS)


def without_empty_end(record: Record) -> Record:
    """Return a record up to its last field that is not empty."""
    end = len(record)
    while end and not record[end - 1].strip():
        end -= 1
    return record[:end]


def has_header(first: Record, rows: Sequence[Record]) -> bool:
    """Return whether the first row of a table holds column names.

    Args:
        first: The first row.
        rows: Some rows below it.
    """
    names = [field.strip() for field in first]
    if not rows:
        return not all(_is_number(name) for name in names if name)
    if _counts_on(names, rows) or _leaves_row_names_unnamed(names, rows):
        return True
    votes: list[int] = [
        _vote(name, [row[column].strip() for row in rows if column < len(row)])
        for column, name in enumerate(names)
    ]
    balance = sum(votes)
    if len(names) == len(set(names)) or balance:
        return balance >= 0
    # Nothing speaks, and a name stands twice: text columns that share their values.
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    return not any(name in row for name in repeated for row in rows)


def _is_title(record: Record, width: int) -> bool:
    fields = without_empty_end(record)
    if width <= 1:
        return False
    return len(fields) == 1 if width <= 3 else len(fields) < width - 1


def _commented_names(preamble: list[Record], width: int) -> Record | None:
    if not preamble or not is_comment(preamble[-1]):
        return None
    last = preamble[-1]
    head = last[0].lstrip("#%/").strip()
    names = [head, *last[1:]] if head else last[1:]
    fits = len(names) == width and not any(_is_number(name.strip()) for name in names)
    return names if fits else None


def _leaves_row_names_unnamed(names: Record, rows: Sequence[Record]) -> bool:
    """Return whether only the first column has no name, and its values name the rows."""
    if names[0] or not all(names[1:]) or len(names) < 2:
        return False
    values = [row[0] for row in rows if row]
    return all(values) and len(set(values)) == len(values)


def _vote(name: str, values: Sequence[str]) -> int:
    """Return 1 where a column speaks for a name above it, -1 for a value, 0 for neither."""
    present = [value for value in values if value.lower() not in _GAPS]
    if name.lower() in _GAPS or not present:
        return 0
    kinds = Counter(_kind(value) for value in present)
    kind, count = kinds.most_common(1)[0]
    if kind is not None and count >= _MIN_KIND_SHARE * len(present):
        if _kind(name) != kind:
            return 1
        # A year over values that are none may be a name, or an odd value: it says nothing.
        return 0 if _is_year(name) and not any(map(_is_year, present)) else -1
    distinct = set(present)
    if len(present) > 1 and len(distinct) <= _MAX_REPEATED_SHARE * len(present):
        return -1 if name in distinct else 0
    return 0


def _kind(value: str) -> str | None:
    """Return "number", or the pattern of letters and digits; None for text without digits."""
    if _is_number(value):
        return "number"
    if not any(character.isdigit() for character in value):
        return None
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", value))


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) or _is_float(text)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counts_on(names: Record, rows: Sequence[Record]) -> bool:
    """Return whether the numbers of the first row are names: 0, 1, 2, … or years, or a long rise.

    The rows below must not go the same way.
    """
    numbers = [float(name) for name in names if name and _is_float(name)]
    text = [name for name in names if name and not _is_float(name)]
    whole = [number for number in numbers if number == int(number)] if _finite(numbers) else []
    if len(numbers) < 2 or (len(whole) < len(numbers) and len(numbers) < _MIN_COUNTED_NAMES):
        return False
    if any(_numbers_of(row) == numbers for row in rows):
        return False  # the same row again is a value
    steps = {round(b - a, 9) for a, b in pairwise(numbers)}
    default_names = numbers == list(range(len(numbers))) and all(
        _may_be_name(name, rows, column) for column, name in enumerate(names) if name in text
    )
    years = all(number in _YEARS for number in numbers) and steps <= {1.0, -1.0, 2.0, 5.0, 10.0}
    rising = len(numbers) >= _MIN_COUNTED_NAMES and len(steps) == 1 and steps != {0.0}
    if not (default_names or years or rising):
        return False
    below = [_numbers_of(row) for row in rows[:20]]
    alike = sum(
        len(values) == len(numbers) and {round(b - a, 9) for a, b in pairwise(values)} == steps
        for values in below
    )
    return alike <= len(below) / 2


def _may_be_name(name: str, rows: Sequence[Record], column: int) -> bool:
    """Return whether a text stands above numbers, or above words that repeat, and is none."""
    values = [row[column].strip() for row in rows if column < len(row)]
    repeats = len(set(values)) <= _MAX_REPEATED_SHARE * len(values)
    return _vote(name, values) > 0 or (repeats and name not in values)


def _is_year(text: str) -> bool:
    return text.isdigit() and int(text) in _YEARS


def _numbers_of(row: Record) -> list[float]:
    return [float(field) for field in row if field.strip() and _is_float(field)]


def _finite(numbers: list[float]) -> bool:
    return all(abs(number) < float("inf") for number in numbers)
