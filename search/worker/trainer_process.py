"""The hold of a supervisor on its trainer: it starts the process and outlives its death.

Whether the trainer lives its process says, and not its pipe, which whatever user code started may
hold open. What it started ends with it.

Entry point: `TrainerProcess`, a `supervisor.Trainer`; `TrainerDied` says how the process ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

import psutil
from pydantic import ValidationError
from sqlalchemy.engine import URL

from ...storage.ledger.ledger import Slot
from ..errors import Drained, Exhausted, TrainerDied
from ..trial.outcome import SlotOutcome
from ..trial.watch import BatchWatch, Unwatched
from .child_process import child_command, kill_family
from .messages import (
    BatchFinished,
    Command,
    ErrorKind,
    Raised,
    Ready,
    Reply,
    RunSlots,
    SlotsLost,
    Stop,
    TrainerConfig,
    TrainerFailed,
    encode,
    parse_reply,
)

_POLL_SECONDS = 0.2
# A process that ends closes its pipe a moment before it is gone.
_EXIT_SECONDS = 2.0
_CGROUP_MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")
_TRAINER_MODULE = f"{__package__}.trainer"


@final
class TrainerProcess:
    """A trainer process, started when it is first needed and anew after its death.

    Attributes:
        claim_size: How many slots to claim for it now.
        engine_note: A sentence for people on how it trains, once it was started.
        device_class: Class of the device that it trains on; empty before it was started.
        device: The device for people; empty before it was started.
    """

    def __init__(
        self,
        config: TrainerConfig,
        url: URL,
        *,
        grace_seconds: float,
        stop_requested: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        memory_events: Path = _CGROUP_MEMORY_EVENTS,
        module: str = _TRAINER_MODULE,
    ) -> None:
        """Prepare, and start nothing yet.

        Args:
            config: The first message to the trainer.
            url: The storage, password included; it reaches the process out of everybody's sight.
            grace_seconds: How long a trainer that was asked to stop may go on.
            stop_requested: Whether this worker was asked to stop.
            clock: Seconds that never go back.
            memory_events: Where the kernel counts the processes that it killed for memory.
            module: The program of the process, by its full name.
        """
        self._config, self._url, self._grace_seconds = config, url, grace_seconds
        self._stop_requested, self._clock = stop_requested, clock
        self._memory_events, self._module = memory_events, module
        self._oom_kills_before = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._family = ""
        self._command_fd = self._reply_fd = -1
        self._buffer = b""
        self.claim_size = 1
        self.engine_note = ""
        self.device_class = self.device = ""

    def start(self) -> None:
        """Load the study's model in a process, unless one is there; return once it is ready.

        Raises:
            SearchError: It cannot, with the sentence that says why and its exit code.
            Drained: This worker was asked to stop.
            TrainerDied: The process was killed.
        """
        if self._process is not None and _is_alive(self._process):
            return
        for is_second_attempt in (False, True):
            self.release_device()
            command_read_fd, self._command_fd = os.pipe()
            self._reply_fd, reply_write_fd = os.pipe()
            child_fds = (command_read_fd, reply_write_fd)
            self._oom_kills_before = _oom_kill_count(self._memory_events)
            with child_command(self._module, [*map(str, child_fds)], self._url) as command:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    command.arguments,
                    env=command.environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=(*child_fds, *command.inherited_fds),
                    # Signals to our group are not for it, nor are those to its group for us.
                    start_new_session=True,
                )
                self._family = command.family
            for fd in child_fds:
                os.close(fd)
            self._send(self._config)
            try:
                # Nothing is held yet: a stop need not wait.
                ready = self._await_reply(self._stop_requested, Unwatched().lost, grace_seconds=0.0)
            except TrainerDied:
                if is_second_attempt:
                    raise
                # A sample that the engines were tried out on may have done it: without, the model
                # may be loaded, and whichever trial it is meets its own end.
                self._config = self._config.model_copy(update={"compare_engines": False})
                continue
            assert isinstance(ready, Ready), "the first reply says that it is ready"
            self.claim_size = ready.claim_size
            self.engine_note, self.device_class = ready.engine_note, ready.device_class
            self.device = ready.device or ready.device_class
            return

    def run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        """Train slots.

        Args:
            slots: As claimed.
            watch: What may interrupt them.

        Raises:
            Drained: A stop was asked for; the trainer has ended.
            Exhausted: Nothing is left to suggest.
            TrainerDied: The process ended in the middle of its work.
            SearchError: Anything else that the search refuses.
        """
        self._send(RunSlots(slots=tuple(slots)))
        finished = self._await_reply(watch.stop_requested, watch.lost, self._grace_seconds)
        assert isinstance(finished, BatchFinished), "a batch is answered by its outcomes"
        self.claim_size = finished.claim_size
        return list(finished.outcomes)

    def release_device(self) -> None:
        """Kill the process, if there is one, and what it started."""
        if self._process is not None:
            self._end_process(self._process)

    def _end_process(self, process: subprocess.Popen[bytes]) -> int:
        """Kill the process, unless it has ended, and what it started; return its exit code."""
        kill_family(process.pid, self._family)
        exit_code = process.wait()
        for fd in (self._command_fd, self._reply_fd):
            os.close(fd)
        self._process, self._buffer = None, b""
        return exit_code

    def _await_reply(
        self,
        stop_requested: Callable[[], bool],
        lost: Callable[[], frozenset[int]],
        grace_seconds: float,
    ) -> Ready | BatchFinished:
        """Wait for a reply, passing on what the trainer has to know."""
        sent_lost: frozenset[int] = frozenset()
        deadline: float | None = None
        while (reply := self._read_reply()) is None:
            if lost() - sent_lost:
                sent_lost = lost()
                self._send(SlotsLost(numbers=tuple(sorted(sent_lost))))
            if deadline is None and stop_requested():
                deadline = self._clock() + grace_seconds
                self._send(Stop())
            if deadline is not None and self._clock() > deadline:
                self.release_device()
                raise Drained("stopped on request, before the work at hand was done")
        if isinstance(reply, Raised):
            raise self._error_of(reply)
        return reply

    def _error_of(self, raised: Raised) -> Exception:
        """Return the exception that a reply describes; end the process where that is its end."""
        if raised.claim_size is not None:
            self.claim_size = raised.claim_size
        if raised.kind in (ErrorKind.GPU_LOST, ErrorKind.DRAINED):
            self.release_device()
        if raised.kind is ErrorKind.GPU_LOST:
            return TrainerDied(raised.message, out_of_memory=False)
        if raised.kind is ErrorKind.DRAINED:
            return Drained(raised.message)
        if raised.kind is ErrorKind.EXHAUSTED:
            return Exhausted(raised.message)
        return TrainerFailed(raised)

    def _read_reply(self) -> Reply | None:
        """Return the next reply; None if none came for a moment."""
        assert self._process is not None, "it was started"
        if b"\n" not in self._buffer:
            # Asked first: all that a dead process wrote is in the pipe.
            alive = _is_alive(self._process)
            ready, _, _ = select.select([self._reply_fd], [], [], _POLL_SECONDS if alive else 0.0)
            chunk = os.read(self._reply_fd, 1 << 16) if ready else b""
            if not chunk and not alive:
                raise self._exit_error()
            if ready and not chunk:
                raise self._closed_error()
            self._buffer += chunk
        line, newline, remainder = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = remainder
        try:
            return parse_reply(line)
        except ValidationError:
            self.release_device()
            raise TrainerDied(
                "its process wrote something else than replies to its worker", out_of_memory=False
            ) from None

    def _send(self, message: TrainerConfig | Command) -> None:
        # A broken pipe is its death; the replies' end will say so.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._command_fd, encode(message))

    def _closed_error(self) -> TrainerDied | Drained:
        """Return the exception for a process that closed its pipe, which is mostly its end."""
        assert self._process is not None, "it was started"
        deadline = self._clock() + _EXIT_SECONDS
        while _is_alive(self._process):
            if self._clock() > deadline:
                self.release_device()
                return TrainerDied(
                    "its process closed its connection to the worker", out_of_memory=False
                )
            time.sleep(_POLL_SECONDS / 10)
        return self._exit_error()

    def _exit_error(self) -> TrainerDied | Drained:
        """Return the exception that says how the process ended."""
        assert self._process is not None, "it was started"
        exit_code = self._end_process(self._process)
        out_of_memory = (
            exit_code == -signal.SIGKILL
            and _oom_kill_count(self._memory_events) > self._oom_kills_before
        )
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


def _is_alive(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process runs, without waiting for it: until then its id is its own."""
    try:
        status = psutil.Process(process.pid).status()
    except psutil.NoSuchProcess:
        return False
    return status not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def _oom_kill_count(memory_events: Path) -> int:
    """Return how often the kernel killed a process of this container for memory; 0 if unknown."""
    try:
        for line in memory_events.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        pass
    return 0
