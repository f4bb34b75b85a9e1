"""Stopping: a signal or the death of the parent asks a process to end in good order.

`stop_on_signals` turns SIGTERM and the first Ctrl-C into a `StopRequest`; a second Ctrl-C
interrupts at once.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType


def worker_name() -> str:
    """Return the name of this process among all machines: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass
class StopRequest:
    """A request that this worker stop: by a signal, or by the death of its parent.

    Attributes:
        parent_pid: Process id of the `widthwise run` this worker belongs to; None for a worker that
            was started by itself.
    """

    parent_pid: int | None = None
    _event: threading.Event = field(default_factory=threading.Event)

    def request(self) -> None:
        """Ask for a stop."""
        self._event.set()

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self._event.is_set() or (
            self.parent_pid is not None and os.getppid() != self.parent_pid
        )

    def wait(self, seconds: float) -> None:
        """Sleep until a request, at most so many seconds."""
        self._event.wait(seconds)


@contextmanager
def stop_on_signals(request: Callable[[], None]) -> Iterator[None]:
    """Call `request` on SIGTERM and the first Ctrl-C within the block; a second one interrupts.

    Signals reach the main thread alone: in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle_signal(signum: int, frame: FrameType | None) -> None:
        del frame
        request()
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    previous_handlers = {
        number: signal.signal(number, handle_signal) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
