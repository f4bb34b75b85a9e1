"""The local fleet: worker processes of `widthwise run` on this machine, watched until they end.

Each worker is a `widthwise worker` of its own, as on any other machine; see `secrets` for how the
storage's password reaches it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from sqlalchemy.engine import URL

from .secrets import inherited

# What a drained worker may take: the rest of an epoch and a database call or two.
_GRACE_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a worker process ended.

    Attributes:
        code: Its exit code; negative, the signal that killed it.
        message: The last line it wrote to stderr, empty if none.
    """

    code: int
    message: str


class Fleet:
    """Worker processes that end with this one.

    Args:
        arguments: Command line of each worker, after the program's name.
        size: How many to start.
        url: The storage, password included; it reaches the workers out of everybody's sight.
    """

    def __init__(self, arguments: Sequence[str], size: int, url: URL) -> None:
        self._logs: list[IO[str]] = []
        self._processes: list[subprocess.Popen[str]] = []
        for _ in range(size):
            # Its own pipe would fill up unread; a file never blocks the worker.
            log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
            self._logs.append(log)
            environment, secret = inherited(url)
            # A second URL, and its password, would only lie about.
            bystanders = {key: os.environ[key] for key in os.environ if key != "OPTUNA_STORAGE"}
            self._processes.append(
                subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-m", f"{__package__}.cli", *arguments],
                    env={**bystanders, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    text=True,
                    pass_fds=() if secret is None else (secret.fileno(),),
                    # Ctrl-C goes to the whole foreground group: `run` passes it on in order.
                    start_new_session=True,
                )
            )
            if secret is not None:
                secret.close()

    def running(self) -> int:
        """How many workers have not ended."""
        return sum(process.poll() is None for process in self._processes)

    def watch(self, tick: Callable[[], None]) -> list[Ended]:
        """Call `tick` a few times a second until every worker has ended."""
        while self.running():
            tick()
            time.sleep(_POLL_SECONDS)
        tick()
        return self.ended()

    def drain(self) -> None:
        """Ask every worker to stop after the epoch at hand, and wait for it."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self.running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End what still runs, at once; its slots come back when their leases expire."""
        self._signal(signal.SIGKILL)
        for process, log in zip(self._processes, self._logs, strict=True):
            process.wait()
            log.close()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)

    def ended(self) -> list[Ended]:
        """How each worker that ended did."""
        found = []
        for process, log in zip(self._processes, self._logs, strict=True):
            code = process.poll()
            if code is not None:
                log.seek(0)
                lines = log.read().strip().splitlines()
                found.append(Ended(code=code, message=lines[-1] if lines else ""))
        return found
