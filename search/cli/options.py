"""Options that several verbs share, and the console they write to.

A verb that takes many options takes them as a frozen dataclass: `expand_options` makes each of its
fields, annotated for typer, an option of the command.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console

from ..errors import SpecError
from ..flags import parse_int_option, parse_worker_count, whole_number
from ..report.console import PlainConsole
from ..spec.device import parse_memory_option

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
LauncherOption = Annotated[
    str,
    typer.Option(help="Where the workers are started: local, or ray for Ray to place them."),
]
MemoryForOption = Annotated[
    str | None,
    typer.Option(
        "--for",
        parser=parse_memory_option,
        metavar="DEVICE",
        help="What memory is counted for, whatever is here: cuda, cuda:9.0 (a GPU by its compute "
        "capability) or cpu; else limits.memory_for, else the device that is trained on.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for a program to read.")]


def parse_name(text: str) -> str:
    """Return a study's name as it was typed, whatever encoding the locale takes it for.

    Raises:
        SpecError: It is no text.
    """
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise SpecError(
            f"{text!a} is no name of a study: expected text in UTF-8; `widthwise status` "
            "lists the names"
        ) from None


StudyArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The study's name.", parser=parse_name)
]
WidthsOption = Annotated[
    str | None,
    typer.Option(metavar="a=64,…", help="Widths instead of those recommended.", show_default=False),
]
TrialOption = Annotated[
    int | None,
    typer.Option(
        parser=whole_number("--trial", 0, 2**31 - 1),
        metavar="N",
        help="The widths of this trial instead of those recommended.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        "-w",
        parser=parse_worker_count,
        metavar="N",
        help="Worker processes on this machine, each on a GPU of its own where there are several; "
        '"auto": one on each GPU, or on as many CPUs as --threads says.',
    ),
]

# Wide enough for the comparison table where no terminal says how wide it is.
_DEFAULT_COLUMNS = 160


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the fields of its dataclass parameters as parameters of its own.

    A parameter that is annotated with a dataclass is replaced, where it stands, by the dataclass's
    fields; a field that is a dataclass itself, likewise. typer reads the signature put together:

        @dataclass(frozen=True, kw_only=True)
        class Colours:
            ink: Annotated[str, typer.Option(help="Of the letters.")] = "black"

        @expand_options
        def write(colours: Colours) -> None: ...       # write --ink TEXT
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters.values()

    @wraps(command)
    def call(**values: Any) -> None:
        command(**{item.name: _collect(item.name, hints[item.name], values) for item in parameters})

    expanded = [
        option
        for item in parameters
        for option in _expand(item.name, hints[item.name], item.default)
    ]
    call.__signature__ = inspect.Signature(expanded)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in expanded}
    return call


def _expand(name: str, annotation: Any, default: Any) -> Iterator[inspect.Parameter]:
    """Yield the parameters that stand for one: itself, or the fields of a dataclass."""
    if not is_dataclass(annotation):
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        return
    hints = get_type_hints(annotation, include_extras=True)
    for field in fields(annotation):
        field_default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield from _expand(field.name, hints[field.name], field_default)


def _collect(name: str, annotation: Any, values: Mapping[str, Any]) -> Any:
    """Return what a parameter is given: its value, or a dataclass of the values of its fields."""
    if not is_dataclass(annotation):
        return values[name]
    assert isinstance(annotation, type)
    hints = get_type_hints(annotation, include_extras=True)
    return annotation(
        **{
            field.name: _collect(field.name, hints[field.name], values)
            for field in fields(annotation)
        }
    )


def stdout() -> Console:
    """Return the console that data goes to."""
    return PlainConsole(width=_console_columns(sys.stdout.isatty()))


def stderr() -> Console:
    """Return the console that progress and messages go to."""
    return PlainConsole(stderr=True, width=_console_columns(sys.stderr.isatty()))


def _console_columns(is_terminal: bool) -> int | None:
    """Return None for the terminal's own width or that of COLUMNS; else the default."""
    return None if is_terminal or "COLUMNS" in os.environ else _DEFAULT_COLUMNS


def parse_widths(flag: str, text: str, *, smallest: int = 1) -> dict[str, int]:
    """Parse `a=64,b=32` as widths by name.

    Args:
        flag: What it was given for.
        text: As it was given.
        smallest: 0 where the space says afterwards which widths may be absent.

    Raises:
        SpecError: A part is no NAME=NUMBER, or a name stands twice.
    """
    from ..space.width import MAX_WIDTH

    widths: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([^=\s]+)\s*=\s*([0-9]+)", part)
        if match is None:
            raise SpecError(f'{flag}: found "{part}", expected NAME=NUMBER such as hidden1=64')
        if match[1] in widths:
            raise SpecError(f'{flag}: "{match[1]}" stands twice; give each width once')
        widths[match[1]] = parse_int_option(
            f"{flag}: {match[1]}", match[2], minimum=smallest, maximum=MAX_WIDTH
        )
    return widths


def write_json(value: Any) -> None:
    """Write JSON to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def open_database(storage: str | None, *, create: bool = False) -> Database:
    """Open the study's database.

    Raises:
        StorageError: It cannot be reached, or is none of ours.
    """
    from ...storage.database.database import Database, resolve_url

    return Database.open(resolve_url(storage), create=create)


def open_worker_database(storage: str | None) -> Database:
    """Open the database for a worker, which waits for it as long as it does later.

    Raises:
        StorageError: It stays away, refuses us, or is none of ours.
    """
    from ...storage.database.database import RETRY_SECONDS, Database, resolve_url

    database = Database.open(resolve_url(storage), create=False, open_seconds=RETRY_SECONDS)
    database.patient = True
    return database
