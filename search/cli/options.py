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

Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="Database URL (sqlite:///FILE, postgresql://USER@HOST/DATABASE). Else the variables "
        "WIDTHWISE_STORAGE and OPTUNA_STORAGE, else sqlite:///widthwise.db. Put a password into "
        "the file that WIDTHWISE_STORAGE_PASSWORD_FILE names.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for a program to read.")]
StudyName = Annotated[str, typer.Argument(metavar="NAME", help="The study's name.")]
Workers = Annotated[
    int, typer.Option("--workers", "-w", min=1, max=1024, help="Worker processes on this machine.")
]
SpecFile = Annotated[
    Path, typer.Argument(metavar="SPEC", help="A spec file; `widthwise init` writes one.")
]

# Wide enough for the comparison table where no terminal says how wide it is.
_PLAIN_WIDTH = 160


def stdout() -> Console:
    """Where data goes."""
    return Console(width=_width(sys.stdout.isatty()), highlight=False)


def stderr() -> Console:
    """Where progress and messages go."""
    return Console(stderr=True, width=_width(sys.stderr.isatty()), highlight=False)


def _width(terminal: bool) -> int | None:
    """The terminal's own width, or COLUMNS where that says one."""
    return None if terminal or "COLUMNS" in os.environ else _PLAIN_WIDTH


def whole_number(flag: str, text: str, *, least: int, most: int) -> int:
    """The number that an option was given.

    Raises:
        SpecError: It is none, or out of bounds.
    """
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise SpecError(
            f'{flag}: found "{text}", expected a whole number from {least:,} to {most:,}'
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


def table(titles: list[str], rows: list[list[str]], *, title: str | None = None) -> Table:
    """A table whose figures stand right and whose words stand left."""
    drawn = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(titles):
        figures = all(not row[index] or not row[index][0].isalpha() for row in rows)
        drawn.add_column(name, justify="right" if figures and index else "left")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def print_report(console: Console, report: Mapping[str, Any]) -> None:
    """The comparison table and the verdict of a study."""
    from ..report.summary import FLOPS_NOTE, TEST_NOTE, comparison, headline, pick_line

    titles, rows = comparison(report)
    console.print(table(titles, rows, title=headline(report)))
    console.print(f"{FLOPS_NOTE} {TEST_NOTE}", style="dim")
    console.print(report["verdict"], style="bold", markup=False)
    picked = pick_line(report)
    if picked is not None:
        console.print(picked, markup=False)
