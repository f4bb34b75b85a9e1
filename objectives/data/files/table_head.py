"""The first records of a text file: what its columns are called, and where its values begin.

Entry point: `read_head`.
"""

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ...errors import DataError
from .header import Record, counted, find_table, has_header, is_blank, is_comment, without_empty_end
from .separator import BLANKS, Dialect, read_records, usual_width

HEAD_RECORDS = 500
"""Records that the width of the table and its header are recognised from."""

UNNAMED = "Unnamed: {}"
"""Name of a column without one, by its position from 0; as pandas calls it."""


@dataclass(frozen=True, kw_only=True)
class TableHead:
    """What the first records of a file tell.

    Attributes:
        names: Column names; one fewer than fields where the rows begin with row names.
        width: Fields of a row.
        header: The names as they stand in the file, for lines that repeat them; None where there
            is no such line.
        skip: Records before the first row of values.
        source: Where the names come from, for people.
        notes: On what was recognised.
    """

    names: list[str]
    width: int
    header: Record | None
    skip: int
    source: str
    notes: list[str] = field(default_factory=list)


def read_head(
    path: Path, lines: list[str], dialect: Dialect, said: bool | None, target: str | None
) -> TableHead:
    """Return the column names of a file, and where its values begin.

    Args:
        path: For messages.
        lines: The first lines, each with its line end.
        dialect: How fields are divided.
        said: Whether the first row holds the names, as the user says; None to recognise it.
        target: Column to predict: a first row that holds its name holds names.

    Raises:
        DataError: Two columns of one name, too few names, or none and a target that is none of
            the names made.
    """
    records = list(islice(read_records(lines, dialect), HEAD_RECORDS))
    width = usual_width(record for record in records if not is_blank(record))
    start = find_table(records, width, blanks_divide=dialect.separator == BLANKS)
    first = [name.removeprefix("\ufeff").strip() for name in records[start.first]]
    rows = [
        record
        for record in records[start.first + 1 :]
        if not is_blank(record) and not (is_comment(record) and len(record) != width)
    ]
    notes = []
    if start.preamble:
        shown = " ".join(start.preamble[0]).strip()
        notes.append(
            f"left out {counted(len(start.preamble), 'line')} above the table ('{shown:.40}')"
        )
    names_target = target in first and not str(target).isdigit()
    if said if said is not None else names_target or has_header(first, rows):
        width = max(width, len(without_empty_end(first)))
        return TableHead(
            names=_column_names(path, first, width),
            width=width,
            header=first,
            skip=start.first + 1,
            source="the first line" if start.first == 0 else f"line {start.first + 1}",
            notes=notes,
        )
    width = max(width, len(without_empty_end(first)))
    if start.commented_names is not None and said is None:
        return TableHead(
            names=_column_names(path, [name.strip() for name in start.commented_names], width),
            width=width,
            header=None,
            skip=start.first,
            source="the comment above the table",
            notes=[*notes, "the column names are those of the comment above the table"],
        )
    begins = ", ".join(first[:4])
    names = [f"column{position}" for position in range(1, width + 1)]
    if target is not None and target not in names:
        raise DataError(
            f"{path} has no line of column names (it begins with {begins}), so there is no column "
            f"'{target}': its columns are called column1 to column{width}; name the target as one "
            "of these, or add a line of names (say `header` if the first line holds them)."
        )
    return TableHead(
        names=names,
        width=width,
        header=None,
        skip=start.first,
        source="made, since the file has none",
        notes=[
            *notes,
            f"the file has no line of column names (it begins with {begins}): its columns are "
            f"called column1 to column{width} (say `header` if the first line holds them)",
        ],
    )


def _column_names(path: Path, names: list[str], width: int) -> list[str]:
    """Return a name for each column; one fewer than fields where these begin with row names."""
    if len(names) > width:
        names = names[:width]  # the rest is empty: the line ends with separators
    if len(names) < width - 1:
        raise DataError(
            f"{path} cannot be read as CSV: it has {len(names)} column names and rows of {width} "
            "fields; give every column a name, or say its `separator`."
        )
    duplicates = sorted({name for name in names if name and names.count(name) > 1})
    if duplicates:
        raise DataError(
            f"{path} has more than one column named {', '.join(map(repr, duplicates[:8]))}: rename "
            "them."
        )
    return [name or _unnamed(position, names) for position, name in enumerate(names)]


def _unnamed(position: int, names: list[str]) -> str:
    """Return a name for a column without one: a file saved twice by pandas has it already."""
    name = UNNAMED.format(position)
    while name in names:
        name += ".1"
    return name
