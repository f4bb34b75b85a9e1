"""Interrupts: a person's Ctrl-C, told from what user code raises by itself.

User code may raise anything: `KeyboardInterrupt`, `asyncio.CancelledError`, `GeneratorExit`,
`SystemExit`, or a class of its own that derives from `BaseException` alone. None of it may end more
than a trial. So whoever calls user code catches `BaseException`, and lets a Ctrl-C through first:

    try:
        module = builder(widths)
    except BaseException as error:
        raise_if_interrupt(error)
        raise ModelError("the builder raised …") from error

Entry points: `raise_if_interrupt`; `note_interrupts`, for a command that a person may interrupt;
`ignore_interrupts`, for a process that is stopped by other means than signals.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ignored = False
_noted = False
_previous: Callable[[int, FrameType | None], object] = signal.default_int_handler


def raise_if_interrupt(error: BaseException) -> None:
    """Raise what was caught once more if it is a person's Ctrl-C.

    Where nobody notes the signal (the Python API), each `KeyboardInterrupt` counts; where it is
    ignored, as in a job in the background, none can be a person's.
    """
    if not isinstance(error, KeyboardInterrupt) or _ignored:
        return
    if _noted or signal.getsignal(signal.SIGINT) not in (_raise_noted, signal.SIG_IGN):
        raise error


def ignore_interrupts() -> None:
    """Ignore SIGINT and SIGTERM in this process from now on; call it in the main thread.

    Whatever `KeyboardInterrupt` there is, user code raised it, even where it sets the signals'
    handlers back.
    """
    global _ignored
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    _ignored = True


@contextmanager
def note_interrupts() -> Iterator[None]:
    """Note a Ctrl-C until the block ends; it then does what it did before, which is to raise.

    In another thread than the main one, which signals do not reach, and where Ctrl-C is ignored, as
    in a job in the background, nothing changes.
    """
    global _noted, _previous
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    _previous = before
    signal.signal(signal.SIGINT, _raise_noted)
    try:
        yield
    finally:
        _noted = False
        signal.signal(signal.SIGINT, before)


def _raise_noted(signum: int, frame: FrameType | None) -> None:
    global _noted
    _noted = True
    _previous(signum, frame)
