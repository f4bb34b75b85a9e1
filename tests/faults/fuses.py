"""Fuses: a worker that kills itself right before, or right after, a step of the protocol commits.

Steps whose transaction writes an event are known by it, so that the kill hits the transaction that
makes the step, whatever the code around it is called; the making of Optuna's trial (`ask`) is known
by the function that inserts it. Writing a checkpoint has no commit: its fuse counts lines.

Entry points: `burning`, `Fuse`, `LineFuse`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, Literal, Protocol

from widthwise.storage.ledger import events
from widthwise.storage.projection import trial_rows

Side = Literal["before", "after"]

EVENTS = {
    "claim": ("claimed",),
    "bind": ("bound",),
    "done": ("done",),
    "tell": ("projected", "repaired"),
    "reap": ("reclaimed",),
}
"""Step to the events that its transaction writes."""


class Lit(Protocol):
    """A fuse of whatever kind."""

    def install(self, dialect: Any) -> None:
        """Lay it, in the process that it will kill."""


def burning(step: str, kills: int) -> Iterator[Callable[[], Lit]]:
    """So many fuses of a step, to be made each in its own process: around it, evenly spread."""
    for index in range(kills):
        if step == "checkpoint":
            yield partial(LineFuse, index / kills)
        else:
            yield partial(Fuse, step, "after" if index % 2 else "before")


class Fuse:
    """Kills this process at the first commit of a step.

    Args:
        step: A key of `EVENTS`, or `ask`: the making of Optuna's trial.
        side: Before the commit, or after it.
    """

    def __init__(self, step: str, side: Side) -> None:
        self._side = side
        self._burning = False
        if step == "ask":
            self._watch(trial_rows, "insert_trials", lambda *_: True)
        else:
            kinds = EVENTS[step]
            self._watch(
                events,
                "append_all",
                lambda _connection, _study, entries: any(one.kind in kinds for one in entries),
            )

    def install(self, dialect: Any) -> None:
        """Put the fuse into the way of an engine's commits."""
        commit = dialect.do_commit

        def burn(connection: Any) -> None:
            if self._burning and self._side == "before":
                die()
            commit(connection)
            if self._burning:
                die()

        dialect.do_commit = burn

    def _watch(self, module: Any, name: str, concerns: Callable[..., bool]) -> None:
        whole = getattr(module, name)

        def watched(*arguments: Any) -> Any:
            self._burning = self._burning or concerns(*arguments)
            return whole(*arguments)

        setattr(module, name, watched)


class LineFuse:
    """Kills this process in the middle of its second checkpoint.

    Args:
        share: After this share of the lines that the writing of the first one passed through.
    """

    def __init__(self, share: float) -> None:
        from widthwise.objectives.training import checkpoint_file

        self._share, self._file = share, checkpoint_file.__file__
        self._lines, self._first = 0, 0
        write = checkpoint_file.write

        def watched(*arguments: Any) -> Any:
            self._first, self._lines = self._lines, 0
            sys.settrace(self._enter)
            try:
                return write(*arguments)
            finally:
                sys.settrace(None)

        checkpoint_file.write = watched

    def install(self, dialect: Any) -> None:
        """Nothing: no commit is concerned."""

    def _enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._count if frame.f_code.co_filename == self._file else None

    def _count(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._lines += 1
            if self._first and self._lines > self._share * self._first:
                die()
        return self._count


def die() -> None:
    """As the kernel's memory killer, or the one who pulls the plug, would have it."""
    os.kill(os.getpid(), signal.SIGKILL)
