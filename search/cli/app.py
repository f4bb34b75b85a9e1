"""The command line: `widthwise` and its verbs.

Data goes to stdout, progress and messages to stderr, JSON where a program reads. `main` is the
edge where an error becomes one sentence and a documented exit code; `--debug` shows the traceback.
One module a group of verbs: `run` (run, submit, resume, worker), `control` (pause, continue,
cancel), `status`, `report` (best, report, dashboard), `cost`, `check` (check, init) and `database`
(db upgrade).
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # `python -m` puts the current folder first, whose files would stand for the libraries below.
    sys.path.pop(0)

import inspect
import logging
import os
import warnings
from pathlib import Path
from typing import Annotated

import typer

from ...objectives.errors import describe_error
from ...objectives.interrupt import note_interrupts
from ...objectives.user_code import raised_by_user_code
from ...storage.database.password import hide_secrets
from ..errors import ExitCode, exit_code_of
from . import check, control, cost, database, report, run, status

app = typer.Typer(
    name="widthwise",
    help="How many neurons should each layer have? Width search for PyTorch under hard limits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (run, control, status, report, cost, check, database):
    module.register(app)


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
    logging.basicConfig(format="%(message)s", level=logging.DEBUG if debug else logging.WARNING)
    if debug:
        # Worker processes of this run shall show theirs too.
        os.environ["WIDTHWISE_DEBUG"] = "1"
    else:
        # A user's model may warn; what a person must act on is said in a sentence of ours.
        warnings.simplefilter("ignore")


def main() -> None:
    """Run a command and exit with its documented code."""
    try:
        with note_interrupts():
            hide_secrets(sys.argv[1:], program=f"{__package__}.app")
            app()
    except KeyboardInterrupt:
        _exit("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output is gone: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except BaseException as error:
        if isinstance(error, SystemExit) and not _called_by_user_code(error):
            raise
        if os.environ.get("WIDTHWISE_DEBUG"):
            logging.getLogger(__name__).exception("traceback of the error")
        exit_code = exit_code_of(error)
        if isinstance(error, SystemExit) or not isinstance(error, Exception):
            message = f"your code raised {describe_error(error)}; let it raise an Exception instead"
            _exit(message, ExitCode.BAD_INPUT)
        elif exit_code is None:
            message = f"{type(error).__name__}: {error} (a bug of ours; --debug shows where)"
            _exit(message, ExitCode.BUG)
        else:
            _exit(str(error), exit_code)


def _called_by_user_code(error: SystemExit) -> bool:
    """Return whether a model, data or metric of the user's asked for the program's end."""
    libraries = [Path(inspect.getfile(origin)).parent for origin in (typer.Typer, typer.Exit)]
    return raised_by_user_code(error, *libraries)


def _exit(message: str, code: int) -> None:
    # To be done, drained or interrupted is no error.
    prefix = "" if code in (ExitCode.DONE, ExitCode.DRAINED, ExitCode.INTERRUPTED) else "error: "
    for line in message.splitlines():
        sys.stderr.write(f"{prefix}{line}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
