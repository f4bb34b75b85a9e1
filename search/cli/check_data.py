"""How a data file is read, column by column, for people and for programs.

Entry points: `FileOptions`, what the user says of a file; `check_data`, for a file named on the
command line; `spec_data`, for the one that a spec names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SpecError
from ..printable import escape_controls
from .options import stdout, write_json
from .tables import print_table

if TYPE_CHECKING:
    from ...objectives.data.describe import FileDescription
    from ..spec.spec import Spec

MAX_LISTED_COLUMNS = 60
"""Columns that are shown of the data of a spec; all of them are by `--data`."""

_TITLES = ("column", "taken as", "gaps", "distinct", "examples", "becomes")
_LONG_TITLES = ("examples", "becomes")


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """A data file, and how it is to be read where it is taken wrongly."""

    data: Annotated[
        str | None,
        typer.Option(help="Data file (text, .parquet or .npz), or a built-in set."),
    ] = None
    target: Annotated[str | None, typer.Option(help="Column of the data file to predict.")] = None
    missing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="Word of the data file that stands for a missing value, such as '?'; may be "
            "given several times.",
        ),
    ] = None
    encoding: Annotated[
        str | None, typer.Option(help="Text encoding of the data file, such as cp1251.")
    ] = None
    separator: Annotated[
        str | None,
        typer.Option(help="Between two fields of the data file: one character, tab or space."),
    ] = None
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the data file begins with column names, where it is taken wrongly.",
            show_default=False,
        ),
    ] = None
    task: Annotated[
        str | None, typer.Option(help="classification or regression, where it is taken wrongly.")
    ] = None

    @property
    def given_flags(self) -> list[str]:
        """The flags beside `--data` that have a value."""
        values = asdict(self)
        names = ("target", "missing", "encoding", "separator", "header", "task")
        return [f"--{name}" for name in names if values[name] is not None]


def check_data(options: FileOptions, *, as_json: bool) -> None:
    """Print how a data file is read; nothing is trained.

    Raises:
        SpecError: The task is none, or nothing can be trained on the file.
        DataError: It cannot be read.
    """
    from ...objectives.data.dataset import Task
    from ...objectives.data.describe import describe_file
    from ...objectives.data.load import BUILT_IN
    from ...objectives.data.read_options import ReadOptions

    assert options.data is not None
    if options.task is not None and options.task not in list(Task):
        raise SpecError(f'--task: found "{options.task}", expected {" or ".join(Task)}')
    if options.data in BUILT_IN or (":" in options.data and not Path(options.data).exists()):
        raise SpecError(
            f"check --data {options.data}: only a file is read column by column; "
            "`widthwise check SPEC` tries out a built-in set or a function"
        )
    description = describe_file(
        Path(options.data).expanduser(),
        options.target,
        task=None if options.task is None else Task(options.task),
        options=ReadOptions(
            missing=tuple(options.missing or ()),
            encoding=options.encoding,
            separator=options.separator,
            header=options.header,
        ),
    )
    if as_json:
        write_json(description_json(description))
    else:
        print_description(description)
    if description.problem is not None:
        raise SpecError(description.problem)


def spec_data(spec: Spec, folder: Path) -> FileDescription | None:
    """Return how the data file of a spec is read; None where its data are no file.

    Raises:
        DataError: It cannot be read, or has no such target.
    """
    from ...objectives.data.dataset import Task
    from ...objectives.data.describe import describe_file
    from ...objectives.data.files.data_file import is_data_file

    proxy = spec.proxy
    if proxy.data is None or not is_data_file(proxy.data):
        return None
    return describe_file(
        folder / Path(proxy.data).expanduser(),
        proxy.target,
        seed=spec.study.seed,
        task=None if proxy.task is None else Task(proxy.task),
        options=proxy.read_options,
    )


def print_description(description: FileDescription, *, most: int | None = None) -> None:
    """Print how a file is read.

    Args:
        description: Of the file.
        most: Columns that are listed at most; None for all.
    """
    from ...objectives.data.describe import format_kind

    console = stdout()
    layout = ", ".join(f"{key}: {value}" for key, value in description.layout.items())
    console.print(
        escape_controls(f"{description.name}: {description.rows:,} rows; {layout}"), markup=False
    )
    print_table(
        console,
        _TITLES,
        [
            [
                column.name,
                format_kind(column),
                f"{column.gaps:,}",
                f"{column.distinct:,}",
                ", ".join(column.examples),
                "; ".join((column.outcome, *column.remarks)),
            ]
            for column in description.columns[:most]
        ],
        long_columns=_LONG_TITLES,
    )
    hidden = len(description.columns) - len(description.columns[:most])
    if hidden:
        console.print(f"and {hidden} more columns; --json lists all", markup=False)
    for note in (*description.notes, *description.target_notes):
        console.print(escape_controls(note), markup=False)


def description_json(description: FileDescription) -> dict[str, Any]:
    """Return how a file is read, for a program."""
    return asdict(description)
