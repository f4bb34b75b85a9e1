"""A tracker in a thread of its own: no training waits for it, and none fails with it.

What fails, or does not answer in time, is switched off with one warning, until its process ends.

Entry point: `BackgroundTracker`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import final

from .tracker import TrackedEnd, TrackedRun, TrackedTrial, Tracker

IDLE_SECONDS = 15.0
"""How long a tracker may take for one step of its work once trials have ended."""
OPEN_SECONDS = 60.0
"""Likewise for the first: libraries are slow to load, and databases to make."""
STOP_SECONDS = 5.0
"""How long a worker that is asked to stop waits for it at most."""

_Job = Callable[[], None]


@final
class BackgroundTracker:
    """Runs a tracker's calls in order, in a daemon thread."""

    def __init__(
        self,
        name: str,
        open_tracker: Callable[[], Tracker],
        warn: Callable[[str], None],
        *,
        idle_seconds: float = IDLE_SECONDS,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        """Start the thread, which opens the tracker first.

        Args:
            name: What people call it, such as "mlflow:mlflow.db".
            open_tracker: Loads the library.
            warn: Is given the sentence, once.
            idle_seconds: Seconds that one call may take.
            open_seconds: Seconds that opening may take.
        """
        self._name, self._open, self._warn = name, open_tracker, warn
        self._idle_seconds, self._open_seconds = idle_seconds, open_seconds
        self._tracker: Tracker | None = None
        self._runs: dict[int, TrackedRun] = {}
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._pending = 0
        self._jobs_done = 0
        self._failed = self._closed = False
        self._submit(self._open_now)
        threading.Thread(target=self._work, name=f"tracker {name}", daemon=True).start()

    def start(self, trial: TrackedTrial) -> None:
        """Begin a trial's run."""

        def begin() -> None:
            assert self._tracker is not None, "it is opened before the first run"
            self._runs[trial.number] = self._tracker.start(trial)

        self._submit(begin)

    def report(self, number: int, step: int, figures: Mapping[str, float]) -> None:
        """Keep figures of a trial at a step."""

        def keep() -> None:
            if number in self._runs:
                self._runs[number].report(step, figures)

        self._submit(keep)

    def end(self, number: int, end: TrackedEnd) -> None:
        """Close a trial's run."""

        def close() -> None:
            if number in self._runs:
                self._runs.pop(number).end(end)

        self._submit(close)

    def close(self) -> None:
        """End the thread once all that was told is kept; nothing is told afterwards."""
        with self._changed:
            self._closed = True
        self._jobs.put(None)

    def flush(self, limit: float | None = None) -> None:
        """Wait until all is kept, as long as there is progress.

        Args:
            limit: Seconds to wait at most; None as long as it goes on.
        """
        started = time.monotonic()
        while (patience := self._wait_for_progress(started, limit)) is not None:
            self._fail(f"it has not answered for {patience:.0f} s")

    def _wait_for_progress(self, started: float, limit: float | None) -> float | None:
        """Return None once all is kept, or the seconds after which there was no progress."""
        with self._changed:
            while self._pending and not self._failed:
                seen = self._jobs_done
                patience = self._idle_seconds if seen else self._open_seconds
                if limit is not None:
                    patience = min(patience, started + limit - time.monotonic())
                # A wait for progress, not for the end: many runs take long to be written.
                if not self._changed.wait_for(
                    lambda seen=seen: self._failed or self._jobs_done > seen,  # type: ignore[misc]
                    timeout=max(0.0, patience),
                ):
                    return max(0.0, patience)
        return None

    def _submit(self, job: _Job) -> None:
        with self._changed:
            if self._failed or self._closed:
                return
            self._pending += 1
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if not self._failed:
                    job()
            except BaseException as error:  # a library may call exit; it must not end a training
                self._fail(f"{type(error).__name__}: {_first_line(error)}")
            with self._changed:
                self._pending -= 1
                self._jobs_done += 1
                self._changed.notify_all()

    def _open_now(self) -> None:
        self._tracker = self._open()

    def _fail(self, reason: str) -> None:
        """Switch it off; the first reason is told."""
        with self._changed:
            if self._failed:
                return
            self._failed = True
            self._changed.notify_all()
        # Whoever shows it may be away as well.
        with suppress(Exception):
            self._warn(
                f"the tracker {self._name} is switched off ({reason}): the trainings go on, and "
                "their results are in the study's database"
            )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else ""
