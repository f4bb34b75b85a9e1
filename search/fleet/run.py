"""Attendance: `widthwise run` starts a fleet of workers on a study and stays until they end.

Entry point: `attend`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from rich.console import Console
from sqlalchemy.engine import URL

from ...storage.database.database import Database
from ...storage.ledger.ledger import Ledger
from ...storage.study.study import load_study
from ..errors import Drained
from ..problem.stored import spec_of
from ..report.progress import finished, follow
from ..spec.spec import Spec
from ..worker.serve import Terms
from ..worker.shutdown import StopRequest, stop_on_signals, worker_name
from .local import Fleet
from .worker_process import Ended

Place = Literal["local", "ray"]
"""Where workers are started: as processes of this machine, or where Ray's scheduler puts them."""


class Workers(Protocol):
    """Worker processes, wherever they are."""

    def running(self) -> int:
        """How many have not ended."""
        ...

    def watch(self, tick: Callable[[], None]) -> list[Ended]:
        """Call `tick` until every one has ended; returns how they did."""
        ...

    def drain(self) -> None:
        """Ask each to stop in good order, and wait for it."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


def attend(
    database: Database,
    name: str,
    terms: Terms,
    console: Console,
    *,
    workers: int,
    on: Place = "local",
) -> int:
    """Run worker processes on a study and show its progress until they end.

    Args:
        database: Where the study is.
        name: The study's name.
        terms: How each of them works.
        console: Where progress is told.
        workers: How many to start at most.
        on: Where.

    Returns:
        The exit code: 0 when the budget is spent or every candidate was tried, 75 when the study
        was cancelled, else the worst worker's.

    Raises:
        SpecError: Ray is asked for and not there.
        KeyboardInterrupt: A second Ctrl-C; workers were killed, their slots come back.
    """
    row = load_study(database, name)
    spec = spec_of(row)
    ledger = Ledger(database, row, worker=worker_name())
    counts = ledger.counts()
    if finished(counts) == counts.budget:
        return 0
    if ledger.status() == "cancelled":
        return _conclude(ledger, name, [], console)
    goal, limits = spec.goal_for(row.direction), spec.limits.model_dump(exclude_none=True)
    _say_who_holds_some(ledger, console)
    size = min(workers, counts.budget - finished(counts))
    fleet = _start(on, _command(name, terms), size, database.url, terms, spec)
    stop = StopRequest()
    try:
        with (
            stop_on_signals(stop.request),
            follow(console, name, ledger, goal, spec.metric, limits) as update,
        ):

            def tick() -> None:
                update()
                if stop() and fleet.running():
                    console.print("stopping: each worker ends its epoch and gives its slot back …")
                    fleet.drain()

            ended = fleet.watch(tick)
    finally:
        fleet.close()
    return _conclude(ledger, name, ended, console)


def _command(name: str, terms: Terms) -> list[str]:
    """The command line of a worker."""
    folder = [] if terms.checkpoints is None else ["--checkpoints", terms.checkpoints]
    figures = ["--threads", str(terms.threads), "--lease", str(terms.lease)]
    return ["worker", name, *figures, *folder]


def _start(
    on: Place, command: Sequence[str], size: int, url: URL, terms: Terms, spec: Spec
) -> Workers:
    if on == "local":
        return Fleet(command, size, url)
    from .ray import RayFleet  # Ray is an extra

    gpu = spec.proxy.device == "cuda"
    return RayFleet(command, size, url, threads=terms.threads, gpu=gpu)


def _say_who_holds_some(ledger: Ledger, console: Console) -> None:
    running, left = ledger.counts().running, ledger.oldest_lease()
    if left is not None and running:
        console.print(
            f"other workers hold {running} of the trials; what a dead one holds comes back "
            f"when its lease ends, the first in {left:.0f} s",
            markup=False,
        )


def _conclude(ledger: Ledger, name: str, ended: Sequence[Ended], console: Console) -> int:
    """Say how it ended; returns the exit code."""
    counts = ledger.counts()
    done, budget = finished(counts), counts.budget
    if done == budget:
        return 0
    for worker in ended:
        if worker.code not in (0, Drained.exit_code):
            reason = worker.message or f"it was killed by signal {-worker.code}"
            console.print(f"a worker ended early: {reason}", markup=False, style="red")
    codes = [worker.code for worker in ended if worker.code]
    cancelled = ledger.status() == "cancelled"
    if not codes and not cancelled:
        console.print(f"every feasible candidate was tried: {done} trials", markup=False)
        return 0
    how = "cancelled" if cancelled else "stopped"
    console.print(
        f"{how} with {done} of {budget} trials done; `widthwise resume {name}` goes on",
        markup=False,
    )
    return max((code for code in codes if code > 0), default=Drained.exit_code)
