"""The command line inside the test's own process: its imports are done once for all tests.

Entry points: `run_in_process`, `CommandResult`.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.cli.app import main


@dataclass(frozen=True)
class CommandResult:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_in_process(
    folder: Path, environment: Mapping[str, str], *arguments: str | Path
) -> CommandResult:
    """Run a command to its end, seconds sooner than in a process of its own.

    `err` is what the command itself says; processes that it starts say theirs elsewhere.

    Args:
        folder: Where it works.
        environment: Variables that it gets beside those of this process.
        arguments: Its command line, after the program's name.
    """
    out, err, working_directory = StringIO(), StringIO(), Path.cwd()
    interrupt_handler = signal.getsignal(signal.SIGINT)
    code = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(action="ignore", category=ResourceWarning),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["widthwise", *map(str, arguments)])
        patch.chdir(folder)
        try:
            main()
        except SystemExit as exit_request:
            code = int(exit_request.code or 0)
        finally:
            signal.signal(signal.SIGINT, interrupt_handler)
        # A process leaves its connections to its end, which here does not come.
        if any("postgresql" in str(text) for text in (*environment.values(), *arguments)):
            gc.collect()
    assert Path.cwd() == working_directory
    return CommandResult(code, out.getvalue(), err.getvalue())
