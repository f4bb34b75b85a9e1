"""The command line's verbs, put together: `widthwise` and all that it can be asked for.

Data goes to stdout, progress and messages to stderr, JSON where a program reads. What is wrong with
the command line itself is said in one sentence, as any other error; `--debug` shows tracebacks.
One module a group of verbs, in two rooms. `studies`: `run` (run, submit, resume, worker),
`confirm`, `control` (pause, continue, cancel), `status`, `report` (best, report, dashboard),
`experiments` (sweep, refine), `train`, `export` and `database` (db upgrade). `models`: `cost`,
`check`, `init`, `discover`, `suggest` and `diagnose`.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Annotated, Any

import typer

from ...objectives.interrupt import note_interrupts
from ...storage.database.password import hide_secrets
from ..errors import ExitCode, SpecError
from ..printable import escape_controls, redact_urls
from .models import check, cost, diagnose, discover, init, suggest
from .studies import confirm, control, database, experiments, export, report, run, status, train

app = typer.Typer(
    name="widthwise",
    help="How many neurons should each layer have? Width search for PyTorch under hard limits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    run,
    confirm,
    control,
    status,
    report,
    experiments,
    train,
    export,
    cost,
    check,
    init,
    discover,
    suggest,
    diagnose,
    database,
):
    module.register(app)


# typer brings its own copy of click, or not, by its release.
_USAGE_ERROR: Any = typer.BadParameter.__base__


class _PlainFormatter(logging.Formatter):
    """Escapes what a terminal would obey: names and exceptions of others stand in messages."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a message and its traceback, if it has one."""
        return escape_controls(redact_urls(super().format(record)), keep="\n")


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        sys.stdout.write(f"widthwise {version('widthwise')}\n")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error.", envvar="WIDTHWISE_DEBUG"),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version
    handler = logging.StreamHandler()
    handler.setFormatter(_PlainFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.WARNING)
    if debug:
        # Worker processes of this run shall show theirs too.
        os.environ["WIDTHWISE_DEBUG"] = "1"
    else:
        # A user's model may warn; what a person must act on is said in a sentence of ours.
        warnings.simplefilter("ignore")


def run_command() -> int:
    """Run the command of `sys.argv`; return its exit code.

    Raises:
        SpecError: There is no such verb or flag, or one is missing.
    """
    try:
        with note_interrupts():
            hide_secrets(sys.argv[1:], program=f"{__package__}.app")
            result = app(prog_name="widthwise", standalone_mode=False)
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return ExitCode.BAD_INPUT
        raise SpecError(_usage_sentence(error)) from error
    return result if isinstance(result, int) else 0


def _usage_sentence(error: Any) -> str:
    """Return in one sentence what is wrong with a command line."""
    sentence = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx
    if context is None:
        return f"{sentence}; see `widthwise --help`"
    takes_name = any(
        item.name == "name" and item.param_type_name == "argument"
        for item in context.command.params
    )
    if takes_name and hasattr(error, "possibilities"):
        # A flag that does not exist may be meant as a name.
        sentence += "; a name that begins with a dash goes behind --, after all flags"
    return f"{sentence}; see `{context.command_path} --help`"
