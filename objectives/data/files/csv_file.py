"""Text files of separated values: `.csv`, `.tsv` and the like become a table of text columns.

    bytes      unpacked                                  content
    text       by its encoding                           encoding
    records    by its separator                          separator
    names      from the first row of the table           header, table_head
    rows       all as wide as the names                  table_body

Nothing is converted: a column is what stands in the file, and an empty field is ''. What is left
out on the way (titles, comments, blank rows, headers repeated by joining files, row names, an
empty last column) is said in a note; what cannot be a table is refused with its line number.

Entry point: `read_csv`.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ...errors import DataError
from ..read_options import DEFAULT_OPTIONS, ReadOptions
from .content import read_content
from .encoding import DecodedText, decode
from .separator import SEPARATOR_NAMES, detect_dialect, parse_separator
from .table_body import TableBody, read_body
from .table_head import UNNAMED, TableHead, read_head

HEAD_CHARACTERS = 65_536
"""Characters at the start of a file that separator and header are recognised from."""

_EXCEL_SEPARATOR = "sep="


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A text file as a table.

    Attributes:
        table: Columns of text, as they stand in the file; an empty field is ''.
        encoding: Of the text, for people.
        separator: Of the fields, for people.
        header: Where the column names come from, for people.
        notes: Sentences for the user on how the file was read.
    """

    table: pd.DataFrame
    encoding: str
    separator: str
    header: str
    notes: tuple[str, ...]


def read_csv(
    path: Path, options: ReadOptions = DEFAULT_OPTIONS, target: str | None = None
) -> TextTable:
    """Return the table that a text file holds.

    Args:
        path: The file, maybe packed.
        options: What the user says of it.
        target: Column to predict: a first row that holds its name holds names.

    Raises:
        DataError: Empty, not text, not of the encoding said, or with rows that do not fit the
            column names.
    """
    decoded = decode(path, read_content(path), options.encoding)
    if not decoded.text.strip():
        raise DataError(f"{path} is empty: it needs a line of column names and rows below.")
    skip_lines, separator = _excel_separator(decoded)
    lines = _first_lines(decoded, skip_lines)
    if options.separator is not None:
        separator = parse_separator(options.separator)
    try:
        dialect = detect_dialect(lines, separator)
        head = read_head(path, lines, dialect, options.header, target)
        body = read_body(path, decoded, skip_lines, dialect, head)
    except csv.Error as error:
        raise DataError(
            f"{path} cannot be read as CSV ({error}): save it anew, with quotes around fields that "
            "hold the separator or a line end."
        ) from error
    table, table_notes = _put_together(path, head, body)
    separator_name = SEPARATOR_NAMES.get(dialect.separator, repr(dialect.separator))
    notes = [] if decoded.note is None else [decoded.note]
    if dialect.separator != ",":
        notes.append(f"the columns are separated by {separator_name}")
    return TextTable(
        table=table,
        encoding=decoded.encoding,
        separator=separator_name,
        header=head.source,
        notes=(*notes, *head.notes, *body.notes, *table_notes),
    )


def _excel_separator(decoded: DecodedText) -> tuple[int, str | None]:
    """Return the lines to skip and the separator, of a file that begins with Excel's `sep=;`."""
    first = next(decoded.lines()).strip("\r\n\"'")
    separator = first[len(_EXCEL_SEPARATOR) :]
    if first[: len(_EXCEL_SEPARATOR)].lower() != _EXCEL_SEPARATOR or len(separator) != 1:
        return 0, None
    return 1, separator


def _first_lines(decoded: DecodedText, skip: int) -> list[str]:
    start = DecodedText(text=decoded.text[:HEAD_CHARACTERS], encoding=decoded.encoding)
    lines = list(start.lines())
    if len(start.text) < len(decoded.text) and len(lines) > skip + 1:
        lines.pop()  # it may be cut off
    return lines[skip:]


def _put_together(path: Path, head: TableHead, body: TableBody) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows as one table, without row names and an empty last column."""
    table = pa.concat_tables(body.chunks).to_pandas()
    names, notes = head.names, []
    has_empty_end = len(table) > 0 and bool((table.iloc[:, -1] == "").all())
    if len(names) == head.width - 1:
        if has_empty_end:
            table = table.iloc[:, :-1]
        elif table.iloc[:, 0].is_unique:
            table = table.iloc[:, 1:]
            notes.append("dropped the row names, the fields before the first named column")
        else:
            raise DataError(
                f"{path} cannot be read as CSV: it has {len(names)} column names and rows of "
                f"{head.width} fields, and the first fields are no row names, since some are "
                "equal; give every column a name."
            )
    elif has_empty_end and names[-1] == UNNAMED.format(len(names) - 1):
        table, names = table.iloc[:, :-1], names[:-1]
    table.columns = pd.Index(names)
    return table, notes
