"""A worker process that this program starts: a `widthwise worker` as on any other machine.

Entry point: `WorkerProcess`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from typing import final

from sqlalchemy.engine import URL

from ..worker.child_process import child_command

COMMAND_LINE = __package__.rpartition(".")[0] + ".cli.app"
"""The module that a worker runs: imported here, the command line would import itself."""


@dataclass(frozen=True, kw_only=True)
class WorkerExit:
    """How a worker process ended.

    Attributes:
        exit_code: Its exit code; negative, the signal that killed it.
        message: The last line it wrote to stderr, empty if none.
    """

    exit_code: int
    message: str


@final
class WorkerProcess:
    """A worker, from its start to its end; it drains when this process dies.

    Args:
        arguments: Its command line, the verb first, without `--parent`.
        url: The storage, password included; it reaches the worker out of everybody's sight.
        working_folder: Where it works; None for where this process does.
        environment: Variables that it gets beside those of this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        url: URL,
        *,
        working_folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # Its own pipe would fill up unread; a file never blocks the worker.
        self._stderr_file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        verb, *rest = arguments
        parent = ["--parent", str(os.getpid())]  # before the name, which may look like a flag
        with child_command(
            COMMAND_LINE, [verb, *parent, *rest], url, environment=environment
        ) as command:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command.arguments,
                cwd=working_folder,
                env=command.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr_file,
                text=True,
                pass_fds=command.inherited_fds,
                # Ctrl-C goes to the whole foreground group: `run` passes it on in order.
                start_new_session=True,
            )

    def poll(self) -> WorkerExit | None:
        """Return how it ended; None while it runs."""
        exit_code = self._process.poll()
        if exit_code is None:
            return None
        self._stderr_file.seek(0)
        lines = self._stderr_file.read().strip().splitlines()
        return WorkerExit(exit_code=exit_code, message=lines[-1] if lines else "")

    def signal(self, signum: Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(signum)

    def close(self) -> None:
        """End it at once, if it still runs; its slots come back when their leases expire."""
        self.signal(SIGKILL)
        self._process.wait()
        self._stderr_file.close()
