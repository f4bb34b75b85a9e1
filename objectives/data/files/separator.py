"""What stands between two fields of a text file and around them, and the records that it makes.

Entry points: `parse_separator` takes the user's word, `detect_dialect` looks at the first lines,
`read_records` splits lines into fields.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import DataError

if TYPE_CHECKING:
    from _csv import Reader

BLANKS = " "
"""The separator of columns with any number of blanks between them."""

SEPARATOR_NAMES = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "bars",
    BLANKS: "blanks",
}
_DETECTABLE = (",", ";", "\t", "|", "^", "~")
_WORDS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "bar": "|",
    "pipe": "|",
    "space": BLANKS,
    "blank": BLANKS,
    "whitespace": BLANKS,
}
_MAX_FIELD_CHARACTERS = 1 << 27
"""Of the `csv` module, whose own limit of 131,072 long texts break."""

_BLANK_SEPARATED = re.compile(r'"(?:[^"]|"")*"(?=\s|$)|\S+')
_MIN_BLANKS_SHARE = 0.9
"""Share of the lines that blanks must divide into equally many fields."""


def parse_separator(said: str) -> str:
    """Return the separator that the user means.

    Raises:
        DataError: It is neither a word for one nor a single character that no value is made of.
    """
    if said.lower() in _WORDS:
        return _WORDS[said.lower()]
    if len(said) != 1 or said.isalnum() or said in "\"'\r\n\0.-+_":
        raise DataError(
            f"the separator is {said!r}: write one character that stands in no value, such as ';' "
            "or '|', or tab or space."
        )
    return said


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How fields are divided.

    Attributes:
        separator: Between two fields; `BLANKS` for any number of blanks.
        quote: Around a field that holds separators or line ends.
        escape: Before a quote that is part of such a field; None where it is doubled instead.
    """

    separator: str
    quote: str = '"'
    escape: str | None = None


def read_records(lines: Iterable[str], dialect: Dialect) -> "Reader":
    """Return a reader of the fields of each record; a quoted field may span several lines."""
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    separator, quote, escape = dialect.separator, dialect.quote, dialect.escape
    if separator == BLANKS:
        lines = ("\t".join(_BLANK_SEPARATED.findall(line)) + "\n" for line in lines)
        return csv.reader(lines, delimiter="\t", quotechar=quote, escapechar=escape)
    return csv.reader(
        lines,
        delimiter=separator,
        quotechar=quote,
        escapechar=escape,
        skipinitialspace=separator != "\t",
    )


def detect_dialect(lines: list[str], separator: str | None = None) -> Dialect:
    """Return how fields are divided.

    Args:
        lines: The first ones of a file, each with its line end.
        separator: As the user says it; None to recognise it.
    """
    plain = Dialect(separator=_detect_separator(lines) if separator is None else separator)
    head = "".join(lines)
    equal = _equal_records(lines, plain)
    if '\\"' in head:
        escaped = replace(plain, escape="\\")
        if _equal_records(lines, escaped) >= equal:
            return escaped
    if '"' not in head and "'" in head:
        quoted = replace(plain, quote="'")
        records = [record for record in read_records(lines, plain) if any(record)]
        enclosed = sum(
            len(field) > 1 and field[0] == field[-1] == "'"
            for record in records
            for field in record
        )
        if enclosed >= len(records) and _equal_records(lines, quoted) >= equal:
            return quoted
    return plain


def _detect_separator(lines: list[str]) -> str:
    """Return the separator that divides the most lines into equally many fields."""
    shares = {mark: _equal_share(lines, Dialect(separator=mark)) for mark in _DETECTABLE}
    best = max(_DETECTABLE, key=lambda mark: shares[mark])
    blanks = _equal_share(lines, Dialect(separator=BLANKS))
    if blanks[0] >= _MIN_BLANKS_SHARE and (
        blanks[0] > shares[best][0]
        # Columns aligned by blanks, with a tab among them.
        or (best == "\t" and blanks[2] > shares[best][2] and _are_aligned(lines))
    ):
        return BLANKS
    return best


def _are_aligned(lines: list[str]) -> bool:
    """Return whether most lines have several blanks in a row between two words."""
    aligned = sum(re.search(r"\S {2,}\S", line) is not None for line in lines)
    return aligned >= _MIN_BLANKS_SHARE * sum(not line.isspace() for line in lines)


def _equal_records(lines: list[str], dialect: Dialect) -> int:
    """Return how many records have the usual width: fewer where lines run into one another."""
    try:
        records = [record for record in read_records(lines, dialect) if any(record)]
    except csv.Error:
        return 0
    return Counter(map(len, records))[usual_width(records)]


def usual_width(records: Iterable[list[str]]) -> int:
    """Return how many fields the most records have; of two equally common numbers the greater."""
    widths = Counter(len(record) for record in records)
    return max(widths, key=lambda width: (widths[width], width), default=1)


def _equal_share(lines: list[str], dialect: Dialect) -> tuple[float, bool, int]:
    """Return the share of records of the usual width, if the first has it, and the width.

    A first record of one field less, as R writes column names beside row names, counts as equal;
    not where blanks divide a title of words, too.
    """
    try:
        records = [record for record in read_records(lines, dialect) if any(record)]
    except csv.Error:
        records = []
    divided = [record for record in records if len(record) > 1]
    if not divided:
        return 0.0, False, 1
    width = usual_width(divided)
    equal = sum(len(record) == width for record in records)
    equal += len(records[0]) == width - 1 > 1 and dialect.separator != BLANKS
    return equal / len(records), len(records[0]) == width, width
