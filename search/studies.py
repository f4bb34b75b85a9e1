"""Studies from beginning to end: start, extend, serve with a worker, attend a local fleet, report.

These are what the command line's verbs and the Python interface call. Each opens nothing it does
not need: only `start` and `serve` load the model and the data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from ..storage.database import Database, resolve_url
from ..storage.ledger import Ledger
from ..storage.row import StudyRow
from ..storage.study import create_study, load_study
from .errors import Drained, SpecError
from .fleet import Fleet
from .outcome import Outcome
from .progress import finished, follow
from .spec import Spec
from .standing import check_fingerprint, spec_of, summarise
from .stopping import StopRequest, stop_on_signals, worker_name

EXIT_DRAINED = 75


def start(
    spec: Spec, base: Path, open_database: Callable[[], Database], console: Console
) -> StudyRow:
    """Put a study into the database, or join the same one that is there.

    Everything that can be wrong with the spec is found before the database is touched.

    Args:
        spec: What to search.
        base: Folder that the spec's files are relative to.
        open_database: Called once the spec has proven right.
        console: Where to say what was recognised.

    Raises:
        SearchError: The spec does not work, or nothing is feasible.
        StorageError: The database refuses, or holds another study of that name.
    """
    from .engine_choice import engine_for
    from .problem import Problem

    problem = Problem.load(spec, base)
    if spec.proxy.engine != "auto":
        engine_for(problem, spec.study.trials)
    for note in problem.notes():
        console.print(note, markup=False)
    database = open_database()
    row, created = create_study(
        database,
        name=spec.name,
        spec=problem.spec.to_json(),
        fingerprint=problem.fingerprint,
        direction=problem.goal.direction,
        metric=problem.objective.metric.name,
        base=str(base),
        budget=spec.study.trials,
        costs=problem.fitted_costs(),
    )
    if not created:
        _join(database, row, spec, console)
    return row


def _join(database: Database, row: StudyRow, spec: Spec, console: Console) -> None:
    ledger = Ledger(database, row, worker=worker_name())
    counts = ledger.counts()
    if spec.study.trials > counts.budget:
        ledger.set_budget(spec.study.trials)
        counts = ledger.counts()
    console.print(
        f"study {row.name} is there already with the same spec: {finished(counts)} of "
        f"{counts.budget} trials are done",
        markup=False,
    )
    if finished(counts) == counts.budget:
        console.print(
            f"its budget is spent; `widthwise resume {row.name} --trials +20` adds to it",
            markup=False,
        )


def extend(database: Database, name: str, trials: str | None, console: Console) -> None:
    """Change a study's budget: "+20" adds, "60" sets; None leaves it.

    Raises:
        FingerprintMismatch: The code or the data are not what the study was started with.
        StorageError: There is no such study, or the total is below what it has.
    """
    row = load_study(database, name)
    check_fingerprint(row)
    if trials is not None:
        ledger = Ledger(database, row, worker=worker_name())
        adds, number = trials.startswith("+"), int(trials)
        total = ledger.extend(number) if adds else ledger.set_budget(number)
        console.print(f"{name}: budget is now {total} trials", markup=False)


def budget_change(trials: str | None) -> str | None:
    """`--trials` as given, once it is known to be "+20" or "60".

    Raises:
        SpecError: It is neither.
    """
    if trials is None or re.fullmatch(r"\+?[1-9][0-9]{0,7}", trials.strip()):
        return trials and trials.strip()
    raise SpecError(f'--trials: found "{trials}", expected "+20" to add twenty or "60" for a total')


def serve(
    database: Database,
    name: str,
    *,
    lease: float,
    threads: int,
    grace: float,
    parent: int | None,
    console: Console,
) -> None:
    """Work on a study until its budget is spent; a child process trains, this one keeps the leases.

    Args:
        database: Where the study is.
        name: The study's name.
        lease: Seconds without a heartbeat until another worker takes a slot over.
        threads: CPU threads of a training.
        grace: Seconds that a training may go on once a stop was asked for.
        parent: Process whose end is a request to stop; None for none.
        console: Where each trial is told.

    Raises:
        FingerprintMismatch: The model's code or the data changed since the study began.
        Drained: A signal asked to stop.
    """
    from ..storage.projection import Projection
    from .child import Child
    from .holder import Holder
    from .worker import Worker

    stop = StopRequest(parent=parent)
    row = load_study(database, name)
    spec = spec_of(row)
    child = Child(
        name,
        database.url,
        worker=worker_name(),
        lease_seconds=lease,
        threads=threads,
        grace_seconds=grace,
        stopping=stop,
    )
    ledger = Ledger(database, row, worker=worker_name(), lease_seconds=lease)
    holder = Holder(
        ledger=ledger,
        projection=Projection(database, row),
        trainer=child,
        lease_seconds=lease,
    )

    def told(outcome: Outcome) -> None:
        if child.note:
            console.print(child.note, markup=False)
            child.note = ""
        value = "" if outcome.value is None else f" {spec.metric} {outcome.value:.4f}"
        detail = f" ({outcome.detail})" if outcome.detail else ""
        console.print(f"trial {outcome.number}: {outcome.kind}{value}{detail}", markup=False)

    with stop_on_signals(stop.request):
        try:
            Worker(holder=holder, ledger=ledger, stop=stop, report=told).run()
        finally:
            child.end()


def attend(
    database: Database, name: str, workers: int, threads: int, lease: float, console: Console
) -> int:
    """Run worker processes on a study and show its progress until they end.

    Args:
        database: Where the study is.
        name: The study's name.
        workers: How many processes to start at most.
        threads: CPU threads of each.
        lease: Seconds without a heartbeat until another worker takes a trial over.
        console: Where progress is told.

    Returns:
        The exit code: 0 when the budget is spent or every candidate was tried, else the worst
        worker's.

    Raises:
        KeyboardInterrupt: A second Ctrl-C; workers were killed, their slots come back.
    """
    row = load_study(database, name)
    spec = spec_of(row)
    ledger = Ledger(database, row, worker=worker_name())
    counts = ledger.counts()
    if finished(counts) == counts.budget:
        return 0
    limits = spec.limits.model_dump(exclude_none=True)
    size = min(workers, counts.budget - finished(counts))
    arguments = ["worker", name, "--parent", str(os.getpid()), "--threads", str(threads)]
    arguments += ["--lease", str(lease)]
    left = ledger.oldest_lease()
    if left is not None and counts.running:
        console.print(
            f"other workers hold {counts.running} of the trials; what a dead one holds comes back "
            f"when its lease ends, the first in {left:.0f} s",
            markup=False,
        )
    fleet = Fleet(arguments, size, database.url)
    stop = StopRequest()
    try:
        with (
            stop_on_signals(stop.request),
            follow(console, ledger, spec.goal_for(row.direction), spec.metric, limits) as update,
        ):

            def tick() -> None:
                update()
                if stop() and fleet.running():
                    console.print("stopping: each worker ends its epoch and gives its slot back …")
                    fleet.drain()

            ended = fleet.watch(tick)
    finally:
        fleet.close()
    counts = ledger.counts()
    done, budget = finished(counts), counts.budget
    if done == budget:
        return 0
    for worker in ended:
        if worker.code not in (0, EXIT_DRAINED):
            reason = worker.message or f"it was killed by signal {-worker.code}"
            console.print(f"a worker ended early: {reason}", markup=False, style="red")
    codes = [worker.code for worker in ended if worker.code]
    if not codes:
        console.print(f"every feasible candidate was tried: {done} trials", markup=False)
        return 0
    console.print(
        f"stopped with {done} of {budget} trials done; `widthwise resume {name}` goes on",
        markup=False,
    )
    return max((code for code in codes if code > 0), default=EXIT_DRAINED)


def run(
    spec: Spec,
    *,
    storage: str | None = None,
    workers: int = 1,
    threads: int = 1,
    base: Path | None = None,
    lease: float = 30.0,
) -> dict[str, Any]:
    """Search widths from Python: what `widthwise run SPEC` does.

    Args:
        spec: What to search, from `load_spec` or `parse_spec`.
        storage: Database URL; None as on the command line (environment, then a file here).
        workers: Worker processes on this machine.
        threads: CPU threads of each; small networks gain nothing from more.
        base: Folder that the spec's files are relative to; the current one by default.
        lease: Seconds without a heartbeat until a trial is taken over.

    Returns:
        The study's report, see `report.summary`; progress goes to stderr.

    Raises:
        SearchError: The spec does not work, nothing is feasible, or workers ended early.
        ObjectiveError: The model, the data or the metric does not work.
        StorageError: The database refuses.
    """
    console = Console(stderr=True, highlight=False)
    with Database.open(resolve_url(storage), create=True) as database:
        row = start(spec, base or Path.cwd(), lambda: database, console)
        code = attend(database, row.name, workers, threads, lease, console)
        if code:
            raise Drained(f"the workers of {row.name} ended early, with exit code {code}")
        return summarise(database, row.name)
