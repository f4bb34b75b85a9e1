"""A worker: runs slots of one study until none is left, it is asked to stop, or it keeps failing.

`Worker.run` is the loop; `stop_on_signals` turns SIGTERM and Ctrl-C into a request to stop after
the epoch at hand. A second Ctrl-C interrupts at once.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from ..storage.ledger import Ledger
from .errors import Drained, Exhausted, TooManyFailures
from .runner import Outcome, Runner

_log = logging.getLogger(__name__)

# Exceptions in a row, over trials, after which the fault is hardly the candidate's.
MAX_FAILURES_IN_A_ROW = 6
# Seconds between two looks for a slot while other workers hold the last ones.
_POLL_SECONDS = 0.5


def worker_name() -> str:
    """This process among all machines: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass
class StopRequest:
    """Whether somebody asked this worker to stop: a signal, or the death of its parent.

    Attributes:
        parent: Process id of the `widthwise run` this worker belongs to; None for a worker that
            was started by itself.
    """

    parent: int | None = None
    _event: threading.Event = field(default_factory=threading.Event)

    def request(self) -> None:
        """Ask for a stop."""
        self._event.set()

    def __call__(self) -> bool:
        """Whether to stop."""
        return self._event.is_set() or (self.parent is not None and os.getppid() != self.parent)

    def wait(self, seconds: float) -> None:
        """Sleep, but wake on a request."""
        self._event.wait(seconds)


@contextmanager
def stop_on_signals(request: Callable[[], None]) -> Iterator[None]:
    """Within the block SIGTERM and the first Ctrl-C call `request`; a second Ctrl-C interrupts."""

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        request()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Runs the slots of a study.

    Attributes:
        runner: Runs one slot.
        ledger: The study's budget.
        stop: Asked between trials and epochs.
        report: Called after each step.
    """

    runner: Runner
    ledger: Ledger
    stop: StopRequest
    report: Callable[[Outcome], None]

    def run(self) -> None:
        """Work until no slot is left for anybody.

        Raises:
            Drained: Stopped on request.
            Exhausted: Every feasible candidate was tried and nobody is training any more.
            TooManyFailures: Training failed too often in a row.
        """
        self.runner.projection.repair()
        failures = 0
        while not self.stop():
            try:
                outcome = self.runner.step()
            except Exhausted:
                if self.ledger.counts().running == 0:
                    raise
                outcome = None
            if outcome is None:
                if self._finished():
                    return
                self.stop.wait(_POLL_SECONDS)
                continue
            self.report(outcome)
            failures = failures + 1 if outcome.kind in ("error", "retry") else 0
            if failures >= MAX_FAILURES_IN_A_ROW:
                raise TooManyFailures(
                    f"training failed {failures} times in a row, last with {outcome.detail}; "
                    "mend the model or the data, then `widthwise resume` the study"
                )
        raise Drained("stopped on request")

    def _finished(self) -> bool:
        counts = self.ledger.counts()
        return counts.running == 0 and counts.waiting == 0
