"""Progress of a study on stderr: a live display on a terminal, plain lines elsewhere.

`follow` gives a function to call a few times a second; it reads the ledger and tells what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...storage.ledger.ledger import Counts, Ledger, Record
from ..goal import Goal
from ..trial.history import Trial, completed
from .summary import show_cost, show_widths


class Progress:
    """What has happened in a study since this display began.

    Args:
        name: The study's name.
        ledger: Where the trials are read from.
        goal: Says which metric is better.
        metric: The metric's name.
        limits: The bounds by name, for the display.
        say: Writes one line for each finished trial.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        goal: Goal,
        metric: str,
        limits: dict[str, int],
        say: Callable[[str], None],
    ) -> None:
        self._name = name
        self._ledger, self._goal, self._metric, self._say = ledger, goal, metric, say
        self._limits = ", ".join(
            f"{name} ≤ {show_cost(name, bound)}" for name, bound in limits.items()
        )
        self._started = time.monotonic()
        self._counts = ledger.counts()
        self._status, self._held = "open", 0
        records = ledger.records()
        self._told = {record.number for record in records if record.outcome is not None}
        self._before = len(self._told)
        self._best = self._best_of(records)

    def update(self) -> None:
        """Read the ledger; say what has finished or was paused since the last time."""
        counts = self._ledger.counts()
        self._say_what_is_paused(self._ledger.status(), counts.paused)
        if finished(counts) != finished(self._counts) or len(self._told) < finished(counts):
            records = self._ledger.records()
            self._best = self._best_of(records)
            fresh = [one for one in records if one.outcome and one.number not in self._told]
            for record in sorted(fresh, key=lambda one: one.finished_at or 0.0):
                self._told.add(record.number)
                self._say(self._line(record))
        self._counts = counts

    def _say_what_is_paused(self, status: str, held: int) -> None:
        name = self._name
        if status != self._status:
            self._say(
                {
                    "open": f"study {name} goes on",
                    "paused": f"study {name} is paused; `widthwise continue {name}` goes on",
                    "cancelled": f"study {name} was cancelled; its workers end",
                }[status]
            )
        if held > self._held:
            self._say(
                f"trials that are paused: {held}; the run ends only after "
                f"`widthwise continue {name} --trial N` or `cancel`"
            )
        self._status, self._held = status, held

    def _best_of(self, records: list[Record]) -> Trial | None:
        trials = completed(records)
        return max(trials, key=lambda trial: self._goal.sign * trial.value, default=None)

    def _line(self, record: Record) -> str:
        widths = show_widths(record.widths or {})
        if record.outcome != "complete" or record.value is None:
            return f"trial {record.number}: {record.outcome} ({widths}){_reason(record)}"
        star = " ★" if self._best is not None and self._best.number == record.number else ""
        return (
            f"trial {record.number}: {self._metric} {record.value:.4f}{star} ({widths}; "
            f"{record.origin})"
        )

    def __rich__(self) -> Group:
        """The live display: bar, states, best so far, limits, rate and time left."""
        counts, done = self._counts, finished(self._counts)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            Text(f"{done}/{counts.budget}"),
            ProgressBar(total=max(counts.budget, 1), completed=done, width=40),
            Text(f"{counts.running} running, {counts.failed} failed, {self._pace(done)}"),
            Text("" if self._status == "open" else self._status),
        )
        best = "no metric yet"
        if self._best is not None:
            best = (
                f"best {self._metric} {self._best.value:.4f} with {show_widths(self._best.widths)}"
            )
        return Group(grid, Text(best), Text(f"limits: {self._limits or 'none'}", style="dim"))

    def _pace(self, done: int) -> str:
        elapsed = time.monotonic() - self._started
        fresh = done - self._before
        if not fresh:
            return "rate not known yet"
        rate = fresh / elapsed
        left = (self._counts.budget - done) / rate
        return f"{rate * 60:.1f} trials a minute, {_duration(left)} left"


def _reason(record: Record) -> str:
    result = record.result or {}
    lines = str(result.get("error") or result.get("detail") or "").strip().splitlines()
    return f": {lines[-1]}" if lines else ""


def finished(counts: Counts) -> int:
    """Trials that will not run again."""
    return counts.complete + counts.failed + counts.pruned


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def follow(
    console: Console, name: str, ledger: Ledger, goal: Goal, metric: str, limits: dict[str, int]
) -> Iterator[Callable[[], None]]:
    """A function that brings the display up to date, live where `console` is a terminal."""

    def say(line: str) -> None:
        console.print(line, markup=False)

    progress = Progress(name, ledger, goal, metric, limits, say)
    if not console.is_terminal:
        yield progress.update
        return
    with Live(progress, console=console, refresh_per_second=4, transient=True):
        yield progress.update
