"""Progress of a study on stderr: a live display on a terminal, plain lines elsewhere.

`follow_progress` yields a function to call a few times a second; it reads the ledger and shows
what is new.
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

from ...storage.ledger.queries import LedgerReader
from ...storage.ledger.slot import SlotCounts, SlotRecord, StudyStatus, TrialOutcome
from ..command import format_command
from ..goal import Goal
from ..printable import escape_controls
from ..trial.history import CompletedTrial, completed_trials
from ..units import format_cost
from .summary import failure_reason, format_widths


class ProgressDisplay:
    """What has happened in a study since this display began.

    Args:
        name: The study's name.
        reader: Where the trials are read from.
        goal: Says which metric is better.
        metric: The metric's name.
        limits: The bounds by name, for the display.
        log: Writes one line for each finished trial.
    """

    def __init__(
        self,
        name: str,
        reader: LedgerReader,
        goal: Goal,
        metric: str,
        limits: dict[str, int],
        log: Callable[[str], None],
    ) -> None:
        self._name = name
        self._reader, self._goal, self._metric, self._log = reader, goal, metric, log
        self._limits = ", ".join(
            f"{name} ≤ {format_cost(name, bound)}" for name, bound in limits.items()
        )
        self._started_at = time.monotonic()
        self._counts = reader.counts()
        self._status, self._paused_trials = StudyStatus.OPEN, 0
        records = reader.records()
        self._logged = {record.number for record in records if record.outcome is not None}
        self._finished_before = len(self._logged)
        self._best = self._best_trial(records)
        self._last_warning = max((event.id for event in reader.warnings()), default=0)
        self._warned: set[str] = set()

    def update(self) -> None:
        """Read the ledger; log what has finished, was paused or warned of since the last time."""
        counts = self._reader.counts()
        self._log_pauses(self._reader.status(), counts.paused)
        if count_finished(counts) != count_finished(self._counts) or len(
            self._logged
        ) < count_finished(counts):
            records = self._reader.records()
            self._best = self._best_trial(records)
            newly_finished = [
                entry for entry in records if entry.outcome and entry.number not in self._logged
            ]
            for record in sorted(newly_finished, key=lambda entry: entry.finished_at or 0.0):
                self._logged.add(record.number)
                self._log(self._trial_line(record))
        self._counts = counts
        self._log_warnings()

    def _log_warnings(self) -> None:
        """Log what workers warn of; the same of several workers once."""
        for event in self._reader.warnings(after=self._last_warning):
            self._last_warning = event.id
            sentence = str(event.detail["warning"])
            if sentence not in self._warned:
                self._warned.add(sentence)
                self._log(f"warning: {sentence}")

    def _log_pauses(self, status: StudyStatus, paused_trials: int) -> None:
        name = self._name
        if status != self._status:
            endings = {
                StudyStatus.OPEN: "goes on",
                StudyStatus.PAUSED: f"is paused; `{format_command('continue', name)}` goes on",
                StudyStatus.CANCELLED: "was stopped: nothing is learned; its workers end"
                if self._reader.untrained_reason() is not None
                else "was cancelled; its workers end",
            }
            self._log(f"study {name} {endings[status]}")
        if paused_trials > self._paused_trials:
            self._log(
                f"trials that are paused: {paused_trials}; the run ends only after "
                f"`{format_command('continue', name, options=['--trial', 'N'])}` or `cancel`"
            )
        self._status, self._paused_trials = status, paused_trials

    def _best_trial(self, records: list[SlotRecord]) -> CompletedTrial | None:
        trials = completed_trials(records)
        return max(trials, key=lambda trial: self._goal.sign * trial.value, default=None)

    def _trial_line(self, record: SlotRecord) -> str:
        widths = format_widths(record.widths or {})
        if record.outcome != TrialOutcome.COMPLETE or record.value is None:
            reason = failure_reason(record)
            suffix = f": {reason}" if reason else ""
            return f"trial {record.number}: {record.outcome} ({widths}){suffix}"
        # Of planned trainings the luckiest is no news: they are compared seed by seed.
        is_best = self._best is not None and self._best.number == record.number
        best_mark = " ★" if is_best and record.seed is None else ""
        useless = (record.result or {}).get("no_better_than_constant")
        remark = "; no better than a constant prediction" if useless else ""
        return (
            f"trial {record.number}: {self._metric} {record.value:.4f}{best_mark} ({widths}; "
            f"{record.origin}{remark})"
        )

    def __rich__(self) -> Group:
        """Return the live display: bar, states, best so far, limits, rate and time left."""
        counts, done = self._counts, count_finished(self._counts)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            Text(f"{done}/{counts.budget}"),
            ProgressBar(total=max(counts.budget, 1), completed=done, width=40),
            Text(f"{counts.running} running, {counts.failed} failed, {self._format_rate(done)}"),
            Text("" if self._status == StudyStatus.OPEN else self._status),
        )
        best_line = "no metric yet"
        if self._best is not None:
            best_widths = format_widths(self._best.widths)
            best_line = f"best {self._metric} {self._best.value:.4f} with {best_widths}"
        return Group(grid, Text(best_line), Text(f"limits: {self._limits or 'none'}", style="dim"))

    def _format_rate(self, done: int) -> str:
        elapsed = time.monotonic() - self._started_at
        newly_finished = done - self._finished_before
        if not newly_finished:
            return "rate not known yet"
        rate = newly_finished / elapsed
        seconds_left = (self._counts.budget - done) / rate
        return f"{rate * 60:.1f} trials a minute, {_format_time_left(seconds_left)} left"


def count_finished(counts: SlotCounts) -> int:
    """Return the number of trials that will not run again."""
    return counts.complete + counts.failed + counts.pruned


def _format_time_left(seconds: float) -> str:
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{remainder:02d}" if hours else f"{minutes}:{remainder:02d}"


@contextmanager
def follow_progress(
    console: Console,
    name: str,
    reader: LedgerReader,
    goal: Goal,
    metric: str,
    limits: dict[str, int],
) -> Iterator[Callable[[], None]]:
    """Yield a function that updates the display, which is live where `console` is a terminal."""

    def log(line: str) -> None:
        console.print(escape_controls(line), markup=False)

    display = ProgressDisplay(name, reader, goal, metric, limits, log)
    if not console.is_terminal:
        yield display.update
        return
    with Live(display, console=console, refresh_per_second=4, transient=True):
        yield display.update
