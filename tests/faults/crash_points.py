"""Crash points: where a worker kills itself, right before or right after a step commits.

Steps whose transaction writes an event are known by it, so that the kill hits the transaction that
makes the step, whatever the code around it is called; the making of Optuna's trial (`ask`) is known
by the function that inserts it. Writing a checkpoint has no commit: its crash point counts lines.

Entry points: `crash_points`, `CrashAtCommit`, `CrashAtLine`.
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

CommitSide = Literal["before", "after"]

STEP_EVENTS = {
    "claim": ("claimed",),
    "bind": ("bound",),
    "done": ("done",),
    "tell": ("projected", "repaired"),
    "reap": ("reclaimed",),
}
"""Step to the events that its transaction writes."""


class CrashPoint(Protocol):
    """Where a worker process kills itself."""

    def install(self, dialect: Any) -> None:
        """Install it in the process that it will kill."""


def crash_points(step: str, kills: int) -> Iterator[Callable[[], CrashPoint]]:
    """Yield makers of crash points around a step, evenly spread; each is made in its process."""
    for index in range(kills):
        if step == "checkpoint":
            yield partial(CrashAtLine, index / kills)
        else:
            yield partial(CrashAtCommit, step, "after" if index % 2 else "before")


class CrashAtCommit:
    """Kills this process at the first commit of a step.

    Args:
        step: A key of `STEP_EVENTS`, or `ask`: the making of Optuna's trial.
        side: Before the commit, or after it.
    """

    def __init__(self, step: str, side: CommitSide) -> None:
        self._side = side
        self._armed = False
        if step == "ask":
            self._arm_on_call(trial_rows, "insert_trials", lambda *_: True)
        else:
            kinds = STEP_EVENTS[step]
            self._arm_on_call(
                events,
                "append_all",
                lambda _connection, _study, entries: any(event.kind in kinds for event in entries),
            )

    def install(self, dialect: Any) -> None:
        """Watch the commits of an engine."""
        commit = dialect.do_commit

        def commit_or_crash(connection: Any) -> None:
            if self._armed and self._side == "before":
                kill_self()
            commit(connection)
            if self._armed:
                kill_self()

        dialect.do_commit = commit_or_crash

    def _arm_on_call(self, module: Any, name: str, matches: Callable[..., bool]) -> None:
        original = getattr(module, name)

        def watched(*arguments: Any) -> Any:
            self._armed = self._armed or matches(*arguments)
            return original(*arguments)

        setattr(module, name, watched)


class CrashAtLine:
    """Kills this process in the middle of its second checkpoint.

    Args:
        share: After this share of the lines that the writing of the first one passed through.
    """

    def __init__(self, share: float) -> None:
        from widthwise.objectives.training import checkpoint_file

        self._share, self._file = share, checkpoint_file.__file__
        self._lines, self._lines_of_first = 0, 0
        write = checkpoint_file.write

        def watched(*arguments: Any) -> Any:
            self._lines_of_first, self._lines = self._lines, 0
            sys.settrace(self._trace_file)
            try:
                return write(*arguments)
            finally:
                sys.settrace(None)

        checkpoint_file.write = watched

    def install(self, dialect: Any) -> None:
        """Nothing: no commit is concerned."""

    def _trace_file(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._trace_line if frame.f_code.co_filename == self._file else None

    def _trace_line(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._lines += 1
            if self._lines_of_first and self._lines > self._share * self._lines_of_first:
                kill_self()
        return self._trace_line


def kill_self() -> None:
    """As the kernel's memory killer, or the one who pulls the plug, would have it."""
    os.kill(os.getpid(), signal.SIGKILL)
