"""What stands between two fields of a text file, and the records that it makes of the lines.

Entry points: `parse_separator` takes the user's word, `detect_separator` looks at the first lines,
`read_records` splits lines into fields.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable
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
_DETECTABLE = (",", ";", "\t", "|")
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

_BLANK_SEPARATED = re.compile(r'"(?:[^"]|"")*"|[^\s"]\S*')
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


def read_records(lines: Iterable[str], separator: str) -> "Reader":
    """Return a reader of the fields of each record; a quoted field may span several lines."""
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    if separator == BLANKS:
        lines = ("\t".join(_BLANK_SEPARATED.findall(line)) + "\n" for line in lines)
        return csv.reader(lines, delimiter="\t")
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t")


def detect_separator(lines: list[str]) -> str:
    """Return the separator that divides the most lines into equally many fields.

    Args:
        lines: The first ones of a file, each with its line end.
    """
    shares = {separator: _equal_share(lines, separator) for separator in _DETECTABLE}
    best = max(_DETECTABLE, key=lambda separator: shares[separator])
    blanks = _equal_share(lines, BLANKS)
    if blanks[0] >= _MIN_BLANKS_SHARE and blanks[0] > shares[best][0]:
        return BLANKS
    return best


def usual_width(records: Iterable[list[str]]) -> int:
    """Return how many fields the most records have; of two equally common numbers the greater."""
    widths = Counter(len(record) for record in records)
    return max(widths, key=lambda width: (widths[width], width), default=1)


def _equal_share(lines: list[str], separator: str) -> tuple[float, bool, int]:
    """Return the share of records of the usual width, if the first has it, and the width."""
    try:
        records = [record for record in read_records(lines, separator) if any(record)]
    except csv.Error:
        records = []
    divided = [record for record in records if len(record) > 1]
    if not divided:
        return 0.0, False, 1
    width = usual_width(divided)
    equal = sum(len(record) == width for record in records)
    return equal / len(records), len(records[0]) == width, width
