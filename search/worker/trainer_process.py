"""The parent's hold on a trainer: it starts the process, gives orders, and outlives its death.

Entry points: `Child.run` trains slots; `ChildDied` says how the process ended instead.
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

from ...storage.database.password import inherited
from ...storage.ledger.ledger import Slot
from ..errors import ChildDied, Drained, Exhausted, SearchError
from ..trial.outcome import Outcome

_POLL_SECONDS = 0.2
_MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")
COMPARE, PLAIN = "compare", "plain"
"""Whether a trainer tries engines out before it begins."""


class ChildFailed(SearchError):
    """The trainer gave up with an error of ours, or with a bug; `exit_code` is the error's."""

    def __init__(self, told: dict[str, Any]) -> None:
        code = told["code"]
        super().__init__(
            told["message"] if code is not None else f"{told['type']}: {told['message']}"
        )
        self.exit_code = 1 if code is None else code  # type: ignore[misc]


@final
class Child:
    """A trainer process, started when it is first needed and anew after its death.

    Attributes:
        most: How many slots to claim for it now.
        note: A sentence for people on how it trains, once it was started.
        device: Class of the device that it trains on; empty before it was started.
    """

    def __init__(
        self,
        name: str,
        url: URL,
        *,
        worker: str,
        lease_seconds: float,
        threads: int,
        grace_seconds: float,
        stopping: Callable[[], bool],
        checkpoints: Path,
    ) -> None:
        """Prepare, and start nothing yet.

        Args:
            name: The study.
            url: The storage, password included; it reaches the process out of everybody's sight.
            worker: Name of this worker.
            lease_seconds: For the trainer's own view of the ledger.
            threads: CPU threads of a training.
            grace_seconds: How long a trainer that was asked to stop may go on.
            stopping: Whether this worker was asked to stop.
            checkpoints: Folder of the study's checkpoints.
        """
        self._arguments = [name, worker, str(lease_seconds), str(threads), str(checkpoints)]
        self._url, self._grace, self._stopping = url, grace_seconds, stopping
        self._process: subprocess.Popen[bytes] | None = None
        self._orders = self._answers = -1
        self._unread, self._engines = b"", COMPARE
        self.most = 1
        self.note = ""
        self.device = ""

    def start(self) -> None:
        """Load the study's model in a process, unless one is there; returns once it is ready.

        Raises:
            SearchError: It cannot, with the sentence that says why and its exit code.
            Drained: This worker was asked to stop.
            ChildDied: The process was killed.
        """
        if self._process is not None and self._process.poll() is None:
            return
        try:
            self._begin()
        except ChildDied:
            # A sample that the engines were tried out on may have done it: without, the model may
            # be loaded, and whichever trial it is meets its own end.
            self._engines = PLAIN
            self._begin()

    def _begin(self) -> None:
        self.end()
        their_orders, self._orders = os.pipe()
        self._answers, their_answers = os.pipe()
        environment, secret = inherited(self._url)
        handed = [their_orders, their_answers]
        self._kills = _memory_kills()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", f"{__package__}.trainer"),
                *self._arguments,
                self._engines,
                *map(str, handed),
            ],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            pass_fds=(*handed, *(() if secret is None else (secret.fileno(),))),
        )
        for descriptor in handed:
            os.close(descriptor)
        if secret is not None:
            secret.close()
        # Nothing is held yet: a stop need not wait.
        answer = self._await(frozenset, grace=0.0)
        self.most, self.note, self.device = answer["ready"], answer["note"], answer["device"]

    def run(self, slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        """Train slots.

        Args:
            slots: As claimed.
            lost: Numbers of those that another worker may hold by now.

        Raises:
            Drained: This worker was asked to stop; the trainer has ended.
            Exhausted: Nothing is left to propose.
            ChildDied: The process ended in the middle of its work.
            SearchError: Anything else that the search refuses.
        """
        self._send(run=[dataclasses.asdict(slot) for slot in slots])
        answer = self._await(lost, self._grace)
        self.most = answer["most"]
        return [Outcome(**one) for one in answer["outcomes"]]

    def end(self) -> None:
        """Kill the process, if there is one."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for descriptor in (self._orders, self._answers):
            os.close(descriptor)
        self._process, self._unread = None, b""

    def _await(self, lost: Callable[[], frozenset[int]], grace: float) -> dict[str, Any]:
        """Wait for an answer, passing on what the trainer has to know."""
        told_lost: frozenset[int] = frozenset()
        deadline: float | None = None
        while (line := self._line()) is None:
            if lost() - told_lost:
                told_lost = lost()
                self._send(lost=sorted(told_lost))
            if deadline is None and self._stopping():
                deadline = time.monotonic() + grace
                self._send(stop=True)
            if deadline is not None and time.monotonic() > deadline:
                self.end()
                raise Drained("stopped on request, before the work at hand was done")
        answer: dict[str, Any] = json.loads(line)
        if "raised" not in answer:
            return answer
        self.most = answer.get("most", self.most)
        kinds = {"Drained": Drained, "Exhausted": Exhausted}
        told = answer["raised"]
        kind = kinds.get(told["type"])
        if told["type"] == ChildDied.__name__:
            self.end()
            raise ChildDied(told["message"], out_of_memory=False)
        if kind is Drained:
            self.end()
        raise ChildFailed(told) if kind is None else kind(told["message"])

    def _line(self) -> bytes | None:
        """The next answer; None if none came for a moment."""
        if b"\n" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], _POLL_SECONDS)
            if not ready:
                return None
            found = os.read(self._answers, 1 << 16)
            if not found:
                raise self._death()
            self._unread += found
        line, newline, rest = self._unread.partition(b"\n")
        if not newline:
            return None
        self._unread = rest
        return line

    def _send(self, **order: Any) -> None:
        # A broken pipe is its death; the answers' end will say so.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, json.dumps(order).encode() + b"\n")

    def _death(self) -> ChildDied | Drained:
        assert self._process is not None, "it was started"
        code = self._process.wait()
        killed = code == -signal.SIGKILL and _memory_kills() > self._kills
        self.end()
        if code == -signal.SIGTERM and self._stopping():
            # The request to stop reached it, too, before it could ignore that.
            return Drained("stopped on request, before any training began")
        if killed:
            return ChildDied("its process was killed when memory ran out", out_of_memory=True)
        how = (
            f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        )
        return ChildDied(f"its process {how}", out_of_memory=False)


def _memory_kills() -> int:
    """How often the kernel killed a process of this container for memory; 0 where nobody says."""
    try:
        for line in _MEMORY_EVENTS.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        pass
    return 0
