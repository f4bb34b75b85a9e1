"""Tables that fit the terminal they are printed on: no number is ever cut or wrapped.

A table as wide as the terminal, or narrower, is printed as it is. Of a wider one, columns of long
texts (widths, examples) become lists below, and the others are laid out in several tables, one
below the other, each with the first column. Entry points: `print_table`, `make_table`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from ..printable import escape_controls

LONG_COLUMNS = ("widths",)
"""Titles of the columns whose texts become lists where there is no room for them."""

_EMPTY = ("", "—")
# Columns of a terminal that the first column may take where a table is laid out in parts.
_KEY_SHARE = 0.3


def make_table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    key_width: int | None = None,
) -> Table:
    """Return a table with figures aligned right and words aligned left.

    Args:
        titles: Of the columns.
        rows: Their cells.
        title: Of the table.
        key_width: Characters of the first column at most, which then wraps; None for all.
    """
    rich_table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(titles):
        numeric = all(not row[index] or not row[index][0].isalpha() for row in rows)
        rich_table.add_column(
            escape_controls(name),
            justify="right" if numeric and index else "left",
            no_wrap=numeric and index > 0,
            max_width=None if index else key_width,
            overflow="fold",
        )
    for row in rows:
        rich_table.add_row(*map(escape_controls, row))
    return rich_table


def print_table(
    console: Console,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    long_columns: Collection[str] = LONG_COLUMNS,
) -> None:
    """Print a table, in parts where it is wider than the console.

    Args:
        console: Where to.
        titles: Of the columns; the first column names the rows.
        rows: Their cells.
        title: Of the table.
        long_columns: Titles of the columns of long texts.
    """
    whole = make_table(titles, rows, title=title)
    if _width(console, whole) <= console.width:
        console.print(whole)
        return
    key_width = max(int(console.width * _KEY_SHARE), 12)
    is_long = [index > 0 and name in long_columns for index, name in enumerate(titles)]
    remaining = [index for index in range(1, len(titles)) if not is_long[index]]
    if title is not None and not remaining:
        console.print(escape_controls(title), style="table.title", markup=False, soft_wrap=True)
    while remaining:
        # As many columns as there is room for, and at least one.
        taken = remaining[:1]
        for index in remaining[1:]:
            part = _part(titles, rows, [*taken, index], None, key_width)
            if _width(console, part) > console.width:
                break
            taken.append(index)
        console.print(_part(titles, rows, taken, title, key_width))
        remaining, title = remaining[len(taken) :], None
    for index, name in enumerate(titles):
        if is_long[index]:
            _print_list(console, name, [(row[0], row[index]) for row in rows])


def _part(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    indices: Sequence[int],
    title: str | None,
    key_width: int,
) -> Table:
    """Return the table of some columns, without the rows that have nothing in any of them."""
    kept = [row for row in rows if any(row[index] not in _EMPTY for index in indices)]
    columns = [0, *indices]
    return make_table(
        [titles[index] for index in columns],
        [[row[index] for index in columns] for row in kept or rows],
        title=title,
        key_width=key_width,
    )


def _print_list(console: Console, name: str, entries: Sequence[tuple[str, str]]) -> None:
    """Print the texts of a column, each below the name of its row; what is equal once."""
    keys_by_text: dict[str, list[str]] = {}
    for key, text in entries:
        if text not in _EMPTY:
            keys_by_text.setdefault(text, []).append(key)
    if not keys_by_text:
        return
    console.print(escape_controls(name), style="bold", markup=False)
    for text, keys in keys_by_text.items():
        lines = textwrap.wrap(
            escape_controls(f"{', '.join(dict.fromkeys(keys))}: {text}"),
            width=max(console.width - 1, 20),
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)


def _width(console: Console, table: Table) -> int:
    """Return the columns of a terminal that a table takes where there is room for all of it."""
    unlimited = console.options.update(max_width=100_000)
    return Measurement.get(console, unlimited, table).maximum
