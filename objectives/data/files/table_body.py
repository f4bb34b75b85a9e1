"""The rows of values of a text file, all made as wide as its column names.

Entry point: `read_body`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from .encoding import DecodedText
from .header import Record, counted, is_blank, is_comment, without_empty_end
from .separator import Dialect, read_records
from .table_head import TableHead

_CHUNK_RECORDS = 16_384


@dataclass(kw_only=True)
class TableBody:
    """The rows of values, and what was left out of them.

    Attributes:
        chunks: Columns of text under their positions.
        blank: Rows without a value.
        comments: Comment lines.
        headers: Lines that repeat the column names.
        short: Rows that end before the last column.
        first_short: Line number of the first of them.
    """

    chunks: list[pa.Table] = field(default_factory=list)
    blank: int = 0
    comments: int = 0
    headers: int = 0
    short: int = 0
    first_short: int = 0

    @property
    def notes(self) -> list[str]:
        """Sentences for the user on what was left out, and what was filled."""
        left_out = {
            ("line", " that repeat the column names"): self.headers,
            ("row", " without a value"): self.blank,
            ("comment line", ""): self.comments,
        }
        notes = [
            f"dropped {counted(count, noun)}{which}"
            for (noun, which), count in left_out.items()
            if count
        ]
        if self.short:
            notes.append(
                f"in {counted(self.short, 'row')} the last fields are gaps, since they end early "
                f"(the first is line {self.first_short})"
            )
        return notes


def read_body(
    path: Path, decoded: DecodedText, skip_lines: int, dialect: Dialect, head: TableHead
) -> TableBody:
    """Read the rows of values.

    Args:
        path: For messages.
        decoded: The file's text.
        skip_lines: Lines at its start that are no records.
        dialect: How fields are divided.
        head: What the first records tell.

    Raises:
        DataError: A row has more fields than there are columns, or a quote is never closed.
    """
    reader = read_records(islice(decoded.lines(), skip_lines, None), dialect)
    for _ in range(head.skip):
        next(reader)
    body, width, names = TableBody(), head.width, head.header
    chunk: list[Record] = []
    end = start = reader.line_num
    for record in reader:
        start, end = end, reader.line_num
        fields = record
        if len(fields) != width:
            fitted = _fit(fields, width, body)
            if fitted is None:
                continue
            if len(fitted) > width:
                line = skip_lines + start + 1
                raise _too_many_fields(path, decoded, line, len(fitted), head)
            fields = fitted
        elif not fields[0] and is_blank(fields):
            body.blank += 1
            continue
        if names is not None and _repeats(fields, names):
            body.headers += 1
            continue
        if len(record) < width:
            body.short += 1
            body.first_short = body.first_short or skip_lines + start + 1
        chunk.append(fields)
        if len(chunk) == _CHUNK_RECORDS:
            body.chunks.append(_as_columns(chunk, width))
            chunk = []
    _check_quotes(path, decoded, skip_lines + start, end - start, dialect)
    body.chunks.append(_as_columns(chunk, width))
    return body


def _fit(fields: Record, width: int, body: TableBody) -> Record | None:
    """Return a record of another width as wide as wanted; None where it is no row of values."""
    if is_blank(fields):
        body.blank += bool(fields)  # an empty line is no row
        return None
    if is_comment(fields):
        body.comments += 1
        return None
    if len(fields) > width:
        fields = without_empty_end(fields)
    return [*fields, *[""] * (width - len(fields))]


def _repeats(fields: Record, names: Record) -> bool:
    """Return whether a row holds the column names once more, maybe with a byte order mark."""
    if names[0] not in fields[0]:
        return False
    start = [name.removeprefix("\ufeff").strip() for name in fields[: len(names)]]
    return start == names


def _as_columns(records: Sequence[Record], width: int) -> pa.Table:
    columns: list[Sequence[str]] = list(zip(*records, strict=True)) if records else [()] * width
    return pa.table(
        {str(k): pa.array(column, type=pa.large_string()) for k, column in enumerate(columns)}
    )


def _check_quotes(
    path: Path, decoded: DecodedText, start: int, lines: int, dialect: Dialect
) -> None:
    """Check that the last record, if it has several lines, closes the quotes it opens."""
    if lines <= 1:
        return
    last = "".join(islice(decoded.lines(), start, start + lines))
    if dialect.escape is not None:
        last = last.replace(dialect.escape + dialect.quote, "")
    if last.count(dialect.quote) % 2:
        raise DataError(
            f"{path} cannot be read as CSV: a quote in line {start + 1} is never closed, so all "
            f"{lines} lines to the end of the file are one field; close it, or double it where it "
            "is part of a field."
        )


def _too_many_fields(
    path: Path, decoded: DecodedText, line: int, count: int, head: TableHead
) -> DataError:
    shown = next(islice(decoded.lines(), line - 1, None), "").strip()
    expected = (
        f"there are {len(head.names)} column names"
        if head.header is not None
        else f"the rows above have {head.width}"
    )
    return DataError(
        f"{path} cannot be read as CSV: line {line} has {count} fields, {expected} "
        f"('{shown:.60}'); give every row as many fields as the header, and put quotes around a "
        "field that holds the separator."
    )
