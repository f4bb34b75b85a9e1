"""CSV files: separated by commas, semicolons, tabs or bars, in UTF-8, UTF-16 or Latin-1.

Entry point: `read_csv`.
"""

import codecs
import csv
import warnings
from pathlib import Path

import pandas as pd

from ...errors import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

HEAD_BYTES = 65_536
"""Bytes at the start of a file from which the separator is detected."""


def read_csv(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table, and notes for the user on how the file was read.

    Every column is text, as it stands in the file; an empty field is ''.

    Raises:
        DataError: Empty, not text, without a header, or with rows that do not fit it.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise DataError(f"{path} is empty: it needs a line of column names and rows below.")
    encoding = _detect_encoding(path, head)
    text = codecs.getincrementaldecoder(encoding)().decode(head)
    separator = _detect_separator(text)
    _check_header(path, text, separator)
    notes = []
    if encoding == "latin-1":
        notes.append("the file is not UTF-8: read as Latin-1")
    if separator != ",":
        notes.append(f"the columns are separated by {SEPARATORS[separator]}")
    try:
        with warnings.catch_warnings():
            # With index_col=False pandas would cut rows that are longer than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                sep=separator,
                encoding=encoding,
                dtype=str,
                keep_default_na=False,
                na_filter=False,
                index_col=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        cause = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataError(
            f"{path} cannot be read as CSV: {cause:.200}; give every row as many fields as the "
            "header."
        ) from error
    table.columns = [str(name).strip() for name in table.columns]
    return table, tuple(notes)


def _detect_encoding(path: Path, head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        raise DataError(f"{path} is not a text file: save it as CSV, or name it as what it is.")
    try:
        decoder = codecs.getincrementaldecoder("utf-8")()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _detect_separator(text: str) -> str:
    """Return the separator that divides the first lines most consistently into most fields."""
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    if len(text) >= HEAD_BYTES and len(lines) > 1:
        lines = lines[:-1]  # the last one may be cut off

    def consistency(separator: str) -> tuple[int, int]:
        fields = [len(row) for row in csv.reader(lines, delimiter=separator)]
        consistent_rows = sum(number == fields[0] for number in fields)
        return (consistent_rows if fields[0] > 1 else 0), fields[0]

    return max(SEPARATORS, key=consistency)


def _check_header(path: Path, text: str, separator: str) -> None:
    first = next(csv.reader(text.splitlines(), delimiter=separator, skipinitialspace=True))
    names = [name.strip() for name in first]
    duplicates = sorted({name for name in names if name and names.count(name) > 1})
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{path} has no line of column names (it begins with {', '.join(names[:4])}): add one."
        )
    if duplicates:
        raise DataError(
            f"{path} has more than one column named {', '.join(map(repr, duplicates))}: rename "
            "them."
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
