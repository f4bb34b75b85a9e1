"""The parent's hold on a trainer: it starts the process, gives orders, and outlives its death.

Entry points: `TrainerProcess.run` trains slots; `TrainerDied` says how the process ended instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

from sqlalchemy.engine import URL

from ...storage.database.password import child_credentials
from ...storage.ledger.ledger import Slot
from ..errors import Drained, Exhausted, SearchError, TrainerDied
from ..trial.outcome import Outcome

_POLL_SECONDS = 0.2
_CGROUP_MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")
COMPARE_ENGINES, PLAIN_ENGINE = "compare", "plain"
"""Whether a trainer tries engines out before it begins."""


class TrainerFailed(SearchError):
    """The trainer gave up with an error of ours, or with a bug; `exit_code` is the error's."""

    def __init__(self, serialised: dict[str, Any]) -> None:
        exit_code = serialised["code"]
        super().__init__(
            serialised["message"]
            if exit_code is not None
            else f"{serialised['type']}: {serialised['message']}"
        )
        self.exit_code = 1 if exit_code is None else exit_code  # type: ignore[misc]


@final
class TrainerProcess:
    """A trainer process, started when it is first needed and anew after its death.

    Attributes:
        claim_size: How many slots to claim for it now.
        engine_note: A sentence for people on how it trains, once it was started.
        device_class: Class of the device that it trains on; empty before it was started.
    """

    def __init__(
        self,
        study_name: str,
        url: URL,
        *,
        worker: str,
        lease_seconds: float,
        threads: int,
        grace_seconds: float,
        stop_requested: Callable[[], bool],
        checkpoints: Path,
    ) -> None:
        """Prepare, and start nothing yet.

        Args:
            study_name: The study.
            url: The storage, password included; it reaches the process out of everybody's sight.
            worker: Name of this worker.
            lease_seconds: For the trainer's own view of the ledger.
            threads: CPU threads of a training.
            grace_seconds: How long a trainer that was asked to stop may go on.
            stop_requested: Whether this worker was asked to stop.
            checkpoints: Folder of the study's checkpoints.
        """
        self._arguments = [study_name, worker, str(lease_seconds), str(threads), str(checkpoints)]
        self._url, self._grace_seconds, self._stop_requested = url, grace_seconds, stop_requested
        self._process: subprocess.Popen[bytes] | None = None
        self._command_fd = self._reply_fd = -1
        self._buffer, self._engine_mode = b"", COMPARE_ENGINES
        self.claim_size = 1
        self.engine_note = ""
        self.device_class = ""

    def start(self) -> None:
        """Load the study's model in a process, unless one is there; returns once it is ready.

        Raises:
            SearchError: It cannot, with the sentence that says why and its exit code.
            Drained: This worker was asked to stop.
            TrainerDied: The process was killed.
        """
        if self._process is not None and self._process.poll() is None:
            return
        try:
            self._start_process()
        except TrainerDied:
            # A sample that the engines were tried out on may have done it: without, the model may
            # be loaded, and whichever trial it is meets its own end.
            self._engine_mode = PLAIN_ENGINE
            self._start_process()

    def _start_process(self) -> None:
        self.kill()
        command_read_fd, self._command_fd = os.pipe()
        self._reply_fd, reply_write_fd = os.pipe()
        environment, password_file = child_credentials(self._url)
        inherited_fds = [command_read_fd, reply_write_fd]
        self._oom_kills_before = _oom_kill_count()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", f"{__package__}.trainer"),
                *self._arguments,
                self._engine_mode,
                *map(str, inherited_fds),
            ],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            pass_fds=(
                *inherited_fds,
                *(() if password_file is None else (password_file.fileno(),)),
            ),
        )
        for fd in inherited_fds:
            os.close(fd)
        if password_file is not None:
            password_file.close()
        # Nothing is held yet: a stop need not wait.
        reply = self._await_reply(frozenset, grace_seconds=0.0)
        self.claim_size, self.engine_note, self.device_class = (
            reply["ready"],
            reply["note"],
            reply["device"],
        )

    def run(self, slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        """Train slots.

        Args:
            slots: As claimed.
            lost: Numbers of those that another worker may hold by now.

        Raises:
            Drained: This worker was asked to stop; the trainer has ended.
            Exhausted: Nothing is left to propose.
            TrainerDied: The process ended in the middle of its work.
            SearchError: Anything else that the search refuses.
        """
        self._send(run=[dataclasses.asdict(slot) for slot in slots])
        reply = self._await_reply(lost, self._grace_seconds)
        self.claim_size = reply["most"]
        return [Outcome(**outcome) for outcome in reply["outcomes"]]

    def kill(self) -> None:
        """Kill the process, if there is one."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for fd in (self._command_fd, self._reply_fd):
            os.close(fd)
        self._process, self._buffer = None, b""

    def _await_reply(
        self, lost: Callable[[], frozenset[int]], grace_seconds: float
    ) -> dict[str, Any]:
        """Wait for an answer, passing on what the trainer has to know."""
        sent_lost: frozenset[int] = frozenset()
        deadline: float | None = None
        while (line := self._read_line()) is None:
            if lost() - sent_lost:
                sent_lost = lost()
                self._send(lost=sorted(sent_lost))
            if deadline is None and self._stop_requested():
                deadline = time.monotonic() + grace_seconds
                self._send(stop=True)
            if deadline is not None and time.monotonic() > deadline:
                self.kill()
                raise Drained("stopped on request, before the work at hand was done")
        reply: dict[str, Any] = json.loads(line)
        if "raised" not in reply:
            return reply
        self.claim_size = reply.get("most", self.claim_size)
        error_types = {"Drained": Drained, "Exhausted": Exhausted}
        serialised = reply["raised"]
        error_type = error_types.get(serialised["type"])
        if serialised["type"] == TrainerDied.__name__:
            self.kill()
            raise TrainerDied(serialised["message"], out_of_memory=False)
        if error_type is Drained:
            self.kill()
        raise TrainerFailed(serialised) if error_type is None else error_type(serialised["message"])

    def _read_line(self) -> bytes | None:
        """The next answer; None if none came for a moment."""
        if b"\n" not in self._buffer:
            ready, _, _ = select.select([self._reply_fd], [], [], _POLL_SECONDS)
            if not ready:
                return None
            chunk = os.read(self._reply_fd, 1 << 16)
            if not chunk:
                raise self._exit_error()
            self._buffer += chunk
        line, newline, remainder = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = remainder
        return line

    def _send(self, **command: Any) -> None:
        # A broken pipe is its death; the answers' end will say so.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._command_fd, json.dumps(command).encode() + b"\n")

    def _exit_error(self) -> TrainerDied | Drained:
        assert self._process is not None, "it was started"
        exit_code = self._process.wait()
        out_of_memory = exit_code == -signal.SIGKILL and _oom_kill_count() > self._oom_kills_before
        self.kill()
        if exit_code == -signal.SIGTERM and self._stop_requested():
            # The request to stop reached it, too, before it could ignore that.
            return Drained("stopped on request, before any training began")
        if out_of_memory:
            return TrainerDied("its process was killed when memory ran out", out_of_memory=True)
        ending = (
            f"was killed by {signal.Signals(-exit_code).name}"
            if exit_code < 0
            else f"ended with code {exit_code}"
        )
        return TrainerDied(f"its process {ending}", out_of_memory=False)


def _oom_kill_count() -> int:
    """How often the kernel killed a process of this container for memory; 0 where nobody says."""
    try:
        for line in _CGROUP_MEMORY_EVENTS.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        pass
    return 0
