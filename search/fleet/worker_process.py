"""A worker process that this program starts: a `widthwise worker` as on any other machine.

How the storage's password reaches it is told in `secrets`. Entry point: `WorkerProcess`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from typing import final

from sqlalchemy.engine import URL

from ...storage.database.password import inherited

COMMAND_LINE = __package__.rpartition(".")[0] + ".cli.app"
"""The module that a worker runs: imported here, the command line would import itself."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a worker process ended.

    Attributes:
        code: Its exit code; negative, the signal that killed it.
        message: The last line it wrote to stderr, empty if none.
    """

    code: int
    message: str


@final
class WorkerProcess:
    """A worker, from its start to its end.

    Args:
        arguments: Its command line, after the program's name.
        url: The storage, password included; it reaches the worker out of everybody's sight.
        folder: Where it works; None for where this process does.
        environment: Variables that it gets beside those of this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        url: URL,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # Its own pipe would fill up unread; a file never blocks the worker.
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        storage, secret = inherited(url)
        # A second URL, and its password, would only lie about.
        bystanders = {key: os.environ[key] for key in os.environ if key != "OPTUNA_STORAGE"}
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", COMMAND_LINE, *arguments],
            cwd=folder,
            env={**bystanders, **(environment or {}), **storage},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            text=True,
            pass_fds=() if secret is None else (secret.fileno(),),
            # Ctrl-C goes to the whole foreground group: `run` passes it on in order.
            start_new_session=True,
        )
        if secret is not None:
            secret.close()

    def ended(self) -> Ended | None:
        """How it ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return Ended(code=code, message=lines[-1] if lines else "")

    def signal(self, number: Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def close(self) -> None:
        """End it at once, if it still runs; its slots come back when their leases expire."""
        self.signal(SIGKILL)
        self._process.wait()
        self._log.close()
