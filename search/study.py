"""Studies from beginning to end: start, submit, open again, extend, and the whole of a run.

These are what the command line's verbs and the Python interface call. Each opens nothing it does
not need: only `create_or_join_study` loads the model and the data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from ..objectives.errors import ObjectiveError
from ..storage.database.database import Database, resolve_url
from ..storage.errors import StudyMismatch
from ..storage.ledger.budget import MAX_BUDGET
from ..storage.ledger.ledger import Ledger
from ..storage.ledger.queries import LedgerReader
from ..storage.ledger.slot import StudyRow, StudyStatus
from ..storage.study.control import set_priority, set_status
from ..storage.study.reference import read_reference_figures, store_reference_figures
from ..storage.study.study import create_study, find_study, load_study
from .command import format_command
from .errors import Drained, FingerprintMismatch, NothingLearned, SpecError
from .flags import AUTO_WORKERS
from .fleet.run import run_fleet
from .fleet.worker_count import resolve_worker_count
from .fleet.worker_fleet import Launcher
from .follow_up_kind import continue_command, followed_name
from .followup.confirm import confirm_finished
from .printable import escape_controls
from .problem.stored import check_fingerprint, stored_spec
from .report.console import PlainConsole
from .report.progress import count_finished
from .report.status import load_summary
from .spec.differences import describe_differences, differing_keys
from .spec.spec import Spec
from .tracking.registry import require_installed
from .worker.options import FleetWorkerOptions
from .worker.shutdown import StopRequest, worker_name


def create_or_join_study(
    spec: Spec,
    base_folder: Path,
    open_database: Callable[[], Database],
    console: Console,
    *,
    find_existing: Callable[[str], StudyRow | None] = lambda _name: None,
    priority: int | None = None,
    from_python: bool = False,
) -> StudyRow:
    """Put a study into the database, or join the same one that is there.

    Everything that can be wrong with the spec is found before the database is touched.

    Args:
        spec: What to search.
        base_folder: Folder that the spec's files are relative to.
        open_database: Called once the spec has proven right.
        console: Where to write what was recognised.
        find_existing: Returns the study of a name if there is one, without making anything; with it
            another spec is refused before the model is loaded and its costs are counted.
        priority: Of the study among those of a pool; None leaves it, 0 of a new one.
        from_python: Whether it is a call from Python, which no command line goes on with.

    Raises:
        SearchError: The spec does not work, or nothing is feasible.
        StorageError: The database refuses, or holds another study of that name.
    """
    from ..objectives.training.reference_models import judge_reference_models
    from .problem.engine import select_engine
    from .problem.notes import problem_notes
    from .problem.problem import Problem

    require_installed(spec.study.trackers or ())
    if (existing := find_existing(spec.name)) is not None:
        _check_own(existing)
        _check_same(existing, spec, base_folder)
    problem = Problem.load(spec, base_folder)
    if spec.proxy.engine != "auto":
        select_engine(problem, spec.study.trials)
    for note in problem_notes(problem):
        console.print(escape_controls(note), markup=False)
    database = open_database()
    try:
        study, created = create_study(
            database,
            name=spec.name,
            spec=problem.spec.to_json(),
            fingerprint=problem.fingerprint,
            direction=problem.objective.metric.direction,
            metric=problem.objective.metric.name,
            base=str(base_folder),
            budget=spec.study.trials,
            costs=problem.serialise_costs(),
        )
    except StudyMismatch:
        # The key may be one that only the loaded model could tell, such as a share of its costs.
        other = find_study(database, spec.name)
        if other and (differences := differing_keys(problem.spec, stored_spec(other))):
            raise _other_spec(other, differences) from None
        raise
    if priority is not None:
        set_priority(database, study, priority)
    if not created:
        _join_existing(database, study, spec, console, from_python=from_python)
    objective = problem.loop_objective
    if objective is not None and read_reference_figures(database, study) is None:
        figures = judge_reference_models(
            objective,
            problem.settings.folds,
            problem.space.as_mapping(problem.space.smallest()),
            repeats=problem.settings.repeats,
        )
        store_reference_figures(
            database, study, {name: asdict(figure) for name, figure in figures.items()}
        )
    return study


def _check_own(study: StudyRow) -> None:
    """Check that a study is one of its own, which people run.

    Raises:
        SpecError: It follows up another one.
    """
    if study.kind is not None:
        parent = followed_name(study.name, study.kind)
        raise SpecError(
            f"{study.name} is the {study.kind} of the study {parent}, whose trainings are planned: "
            f"`{continue_command(study.name, study.kind)}` goes on with it"
        )


def _check_same(study: StudyRow, spec: Spec, base_folder: Path) -> None:
    """Check that a study in the database was started with this spec, code and data.

    Raises:
        FingerprintMismatch: It was not; of the spec, each key that differs is named.
    """
    if differences := differing_keys(spec, stored_spec(study)):
        raise _other_spec(study, differences)
    # Data that cannot be read is reported with its key, when the problem is loaded.
    with suppress(ObjectiveError):
        check_fingerprint(study, base_folder)


def _other_spec(study: StudyRow, differences: Mapping[str, tuple[Any, Any]]) -> FingerprintMismatch:
    return FingerprintMismatch(
        f"study {study.name} was started with another spec: {describe_differences(differences)}; "
        "give this one another name, or bring back what that one was started with"
    )


def _join_existing(
    database: Database, study: StudyRow, spec: Spec, console: Console, *, from_python: bool
) -> None:
    ledger = Ledger(database, study, worker=worker_name())
    counts = ledger.reader.counts()
    if spec.study.trials > counts.budget and ledger.reader.closing() is None:
        ledger.set_budget(spec.study.trials)
        counts = ledger.reader.counts()
    console.print(
        f"study {study.name} is there already with the same spec: {count_finished(counts)} of "
        f"{counts.budget} trials are done",
        markup=False,
    )
    if count_finished(counts) == counts.budget:
        more = format_command("resume", study.name, options=["--trials", "+20"])
        ending = "its budget is spent" if ledger.reader.closing() is None else "it ended itself"
        adds = "a larger `trials` adds to it" if from_python else f"`{more}` adds to it"
        console.print(f"{ending}; {adds}", markup=False)


def reopen_study(
    database: Database,
    name: str,
    trials: str | None,
    console: Console,
    *,
    untrained_ok: bool = False,
) -> None:
    """Open a study again if it is not open, and change its budget: "+20" adds, "60" sets.

    Args:
        database: Where it is.
        name: Of the study.
        trials: The change; None leaves the budget as it is.
        console: Where the change is written.
        untrained_ok: Whether to go on with a study that was stopped as it learned nothing.

    Raises:
        NothingLearned: The study was stopped so, and going on is not asked for.
        FingerprintMismatch: The code or the data are not what the study was started with.
        StorageError: There is no such study, or the total is below what it has.
    """
    study = load_study(database, name)
    _check_own(study)
    check_fingerprint(study)
    reason = LedgerReader(database, study).untrained_reason()
    if reason is not None and not untrained_ok:
        insist = format_command("resume", name, options=["--untrained-ok"])
        raise NothingLearned(
            f"study {name} was stopped. {reason} Mend that under another name, or insist: "
            f"`{insist}`"
        )
    if trials is not None:
        ledger = Ledger(database, study, worker=worker_name())
        is_increment, trial_count = trials.startswith("+"), int(trials)
        total = ledger.extend(trial_count) if is_increment else ledger.set_budget(trial_count)
        console.print(f"{name}: budget is now {total} trials", markup=False)
    previous_status = set_status(database, study, StudyStatus.OPEN, worker=worker_name())
    if previous_status != StudyStatus.OPEN:
        console.print(f"{name}: was {previous_status}, is open again", markup=False)


def opening_command(database: Database, study: StudyRow) -> str:
    """Return the command that opens a study again which is paused, cancelled or stopped."""
    if LedgerReader(database, study).untrained_reason() is not None:
        return format_command("resume", study.name, options=["--untrained-ok"])
    return format_command("continue", study.name)


def parse_budget_change(trials: str | None) -> str | None:
    """Return `--trials` as given, once it is known to be "+20" or "60".

    Raises:
        SpecError: It is neither.
    """
    if trials is None:
        return None
    match = re.fullmatch(r"(\+?)([1-9][0-9]{0,8})", trials.strip())
    if match is None or int(match[2]) > MAX_BUDGET:
        raise SpecError(
            f'--trials: found "{trials[:60]}", expected "+20" to add twenty or "60" for a total, '
            f"and at most {MAX_BUDGET:,}"
        )
    return match[0]


def run(
    spec: Spec,
    *,
    storage: str | None = None,
    workers: int | Literal["auto"] = 1,
    workers_per_gpu: int = 1,
    threads: int = 1,
    base: Path | None = None,
    lease: float = 30.0,
    checkpoints: str | None = None,
    on: str = Launcher.LOCAL,
    confirm: bool = True,
) -> dict[str, Any]:
    """Search widths from Python: what `widthwise run SPEC` does.

    Args:
        spec: What to search, from `load_spec` or `parse_spec`.
        storage: Database URL; None as on the command line (environment, then a file here).
        workers: Worker processes on this machine; "auto" for one on each GPU, or on as many CPUs
            as `threads` says.
        workers_per_gpu: Workers that a GPU is meant for.
        threads: CPU threads of each; small networks gain nothing from more.
        base: Folder that the spec's files are relative to; the current one by default.
        lease: Seconds without a heartbeat until a trial is taken over.
        checkpoints: Folder for checkpoints; None for the usual one.
        on: Where the workers are started: "local", or "ray" for Ray's scheduler to place them.
        confirm: Whether to confirm the answer at the end by long trainings with fresh seeds.

    Returns:
        The study's report, see `report.summary`; progress goes to stderr.

    Raises:
        SearchError: The spec does not work, nothing is feasible, nothing is learned, workers ended
            early, or the study was cancelled.
        ObjectiveError: The model, the data or the metric does not work.
        StorageError: The database refuses.
    """
    console = PlainConsole(stderr=True)
    options = FleetWorkerOptions(
        lease_seconds=lease,
        threads=threads,
        checkpoints=Path(checkpoints) if checkpoints else None,
        workers_per_gpu=workers_per_gpu,
    )
    launcher = Launcher.parse(on)
    with Database.open(resolve_url(storage), create=True) as database:
        study = run_to_the_end(
            database,
            spec,
            base or Path.cwd(),
            options,
            console,
            worker_count=AUTO_WORKERS if workers == "auto" else workers,
            launcher=launcher,
            confirm=confirm,
            stop=StopRequest(),
        )
        return load_summary(database, study.name).to_json()


def run_to_the_end(
    database: Database,
    spec: Spec,
    base_folder: Path,
    options: FleetWorkerOptions,
    console: Console,
    *,
    worker_count: int,
    launcher: Launcher,
    confirm: bool,
    stop: StopRequest,
    untrained_ok: bool = False,
    command: str | None = None,
) -> StudyRow:
    """Start a study or join it, run workers until it is done, and confirm its answer.

    Args:
        database: Where it is, or will be.
        spec: What to search.
        base_folder: Folder that the spec's files are relative to.
        options: How each worker works.
        console: Where progress is written.
        worker_count: Workers to start at most; `AUTO_WORKERS` for as many as the machine takes.
        launcher: Where.
        confirm: Whether to confirm the answer.
        stop: Learns of a stop that is asked for meanwhile.
        untrained_ok: Whether to go on where nothing is learned.
        command: The call from Python that goes on with the study; None for the command line's own.

    Raises:
        NothingLearned: The study was stopped, as it learns nothing.
        Drained, FollowUpStopped: The workers ended early, or were asked to.
        SearchError, ObjectiveError, StorageError: As of `run`.
    """
    study = create_or_join_study(
        spec,
        base_folder,
        lambda: database,
        console,
        find_existing=lambda name: find_study(database, name),
        from_python=command is not None,
    )
    worker_count = resolve_worker_count(
        worker_count, database, study.name, options, console, launcher
    )
    reader = LedgerReader(database, study)
    run = partial(
        run_fleet,
        database,
        study.name,
        options,
        console,
        worker_count=worker_count,
        launcher=launcher,
        stop=stop,
        command=command,
    )
    exit_code = run()
    if reader.untrained_reason() is not None and untrained_ok:
        reopen_study(database, study.name, None, console, untrained_ok=True)
        exit_code = run()
    if (reason := reader.untrained_reason()) is not None:
        insist = "; `untrained_ok=True` goes on all the same" if command is not None else ""
        raise NothingLearned(reason.removesuffix(".") + insist if insist else reason)
    if exit_code:
        if reader.status() == StudyStatus.CANCELLED:
            opens = opening_command(database, study)
            raise Drained(f"study {study.name} was cancelled; `{opens}` opens it again")
        raise Drained(f"the workers of {study.name} ended early, with exit code {exit_code}")
    if confirm:
        confirm_finished(
            database,
            study.name,
            options,
            console,
            worker_count=worker_count,
            launcher=launcher,
            stop=stop,
            from_python=command is not None,
        )
    return study
