"""Options that several verbs share, and the console they write to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import SpecError

if TYPE_CHECKING:
    from ...storage.database.database import Database

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="Database URL (sqlite:///FILE, postgresql://USER@HOST/DATABASE). Else the variables "
        "WIDTHWISE_STORAGE and OPTUNA_STORAGE, else sqlite:///widthwise.db. Put a password into "
        "the file that WIDTHWISE_STORAGE_PASSWORD_FILE names.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for a program to read.")]
StudyArgument = Annotated[str, typer.Argument(metavar="NAME", help="The study's name.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", "-w", min=1, max=1024, help="Worker processes on this machine.")
]
SpecArgument = Annotated[
    Path, typer.Argument(metavar="SPEC", help="A spec file; `widthwise init` writes one.")
]

# Wide enough for the comparison table where no terminal says how wide it is.
_DEFAULT_COLUMNS = 160


def stdout() -> Console:
    """Where data goes."""
    return Console(width=_console_columns(sys.stdout.isatty()), highlight=False)


def stderr() -> Console:
    """Where progress and messages go."""
    return Console(stderr=True, width=_console_columns(sys.stderr.isatty()), highlight=False)


def _console_columns(is_terminal: bool) -> int | None:
    """The terminal's own width, or COLUMNS where that says one."""
    return None if is_terminal or "COLUMNS" in os.environ else _DEFAULT_COLUMNS


def parse_int_option(flag: str, text: str, *, minimum: int, maximum: int) -> int:
    """The number that an option was given.

    Raises:
        SpecError: It is none, or out of bounds.
    """
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or not minimum <= number <= maximum:
        raise SpecError(
            f'{flag}: found "{text}", expected a whole number from {minimum:,} to {maximum:,}'
        )
    return number


def write_json(value: Any) -> None:
    """Write JSON to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def open_database(storage: str | None, *, create: bool = False) -> Database:
    """The study's database.

    Raises:
        StorageError: It cannot be reached, or is none of ours.
    """
    from ...storage.database.database import Database, resolve_url

    return Database.open(resolve_url(storage), create=create)


def make_table(titles: list[str], rows: list[list[str]], *, title: str | None = None) -> Table:
    """A table whose figures stand right and whose words stand left."""
    rich_table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(titles):
        numeric = all(not row[index] or not row[index][0].isalpha() for row in rows)
        rich_table.add_column(name, justify="right" if numeric and index else "left")
    for row in rows:
        rich_table.add_row(*row)
    return rich_table


def print_report(console: Console, report: Mapping[str, Any]) -> None:
    """The comparison table and the verdict of a study."""
    from ..report.summary import (
        FLOPS_NOTE,
        TEST_NOTE,
        best_candidate_line,
        comparison_table,
        progress_line,
    )

    titles, rows = comparison_table(report)
    console.print(make_table(titles, rows, title=progress_line(report)))
    console.print(f"{FLOPS_NOTE} {TEST_NOTE}", style="dim")
    console.print(report["verdict"], style="bold", markup=False)
    pick_sentence = best_candidate_line(report)
    if pick_sentence is not None:
        console.print(pick_sentence, markup=False)
