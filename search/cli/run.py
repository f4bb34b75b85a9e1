"""The verbs that spend budget: `run`, `resume` and `worker`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SpecError
from .options import (
    JsonOption,
    StorageOption,
    StudyArgument,
    WorkersOption,
    expand_options,
    open_database,
    parse_int_option,
    print_report,
    stderr,
    stdout,
    write_json,
)
from .study_options import StudyRequest

if TYPE_CHECKING:
    from ..fleet.run import Launcher
    from ..worker.serve import WorkerOptions

ThreadsOption = Annotated[
    int,
    typer.Option(min=1, help="CPU threads of each worker; small networks gain nothing from more."),
]
LeaseOption = Annotated[
    float,
    typer.Option(min=1.0, help="Seconds without a heartbeat until a trial is taken over."),
]
CheckpointsOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder for checkpoints of interrupted trials; where workers share it, any of them "
        "goes on. Else WIDTHWISE_CHECKPOINTS, else beside a SQLite file or in your home.",
        file_okay=False,
        show_default=False,
    ),
]
LauncherOption = Annotated[
    str,
    typer.Option(help="Where the workers are started: local, or ray for Ray to place them."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("run")(expand_options(run))
    app.command("resume")(resume)
    app.command("worker")(worker)
    app.command("submit")(expand_options(submit))


def run(
    request: StudyRequest,
    *,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 1,
    lease: LeaseOption = 30.0,
    checkpoints: CheckpointsOption = None,
    on: LauncherOption = "local",
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search widths: from a spec file, or for a data file without any spec."""
    launcher = _parse_launcher(on)
    request.check_source("run")
    study_name = request.create_or_join(storage).name
    _run_workers(
        study_name,
        _worker_options(lease, threads, checkpoints),
        workers,
        launcher,
        storage,
        as_json,
    )


def resume(
    name: StudyArgument,
    *,
    trials: Annotated[
        str | None,
        typer.Option("--trials", "-n", help='"+20" adds twenty to the budget, "60" makes it 60.'),
    ] = None,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 1,
    lease: LeaseOption = 30.0,
    checkpoints: CheckpointsOption = None,
    on: LauncherOption = "local",
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a study, also a paused or cancelled one: finish its budget, or extend it first."""
    from ..study import parse_budget_change, reopen_study

    launcher = _parse_launcher(on)
    change = parse_budget_change(trials)
    reopen_study(open_database(storage), name, change, stderr())
    _run_workers(
        name, _worker_options(lease, threads, checkpoints), workers, launcher, storage, as_json
    )


def worker(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A study; every open one in turn if left out."),
    ] = None,
    *,
    storage: StorageOption = None,
    lease: LeaseOption = 30.0,
    threads: ThreadsOption = 1,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds that a training may go on after a stop.")
    ] = 25.0,
    checkpoints: CheckpointsOption = None,
    idle: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Seconds without work after which a worker without a study ends; else it stays.",
            show_default=False,
        ),
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Work on a study until its budget is spent, or on all that come; start as many as you like."""
    from ..worker.pool import serve_open_studies
    from ..worker.serve import serve_study

    options = _worker_options(lease, threads, checkpoints, grace_seconds=grace, parent_pid=parent)
    database = open_database(storage)
    if name is None:
        serve_open_studies(database, options, stderr(), idle_seconds=idle)
        return
    if idle is not None:
        raise SpecError(
            f"--idle goes with a worker without a study: leave {name} out, since a worker of one "
            "study ends with its budget"
        )
    serve_study(database, name, options, stderr())


def _parse_launcher(text: str) -> Launcher:
    launchers: dict[str, Launcher] = {"local": "local", "ray": "ray"}
    if text in launchers:
        return launchers[text]
    raise SpecError(f'--on: found "{text}", expected local or ray')


def _worker_options(
    lease_seconds: float,
    threads: int,
    checkpoints: Path | None,
    *,
    grace_seconds: float = 25.0,
    parent_pid: int | None = None,
) -> WorkerOptions:
    from ..worker.serve import WorkerOptions

    folder = None if checkpoints is None else str(checkpoints.absolute())
    return WorkerOptions(
        lease_seconds=lease_seconds,
        threads=threads,
        grace_seconds=grace_seconds,
        checkpoints=folder,
        parent_pid=parent_pid,
    )


def _run_workers(
    name: str,
    options: WorkerOptions,
    workers: int,
    launcher: Launcher,
    storage: str | None,
    as_json: bool,
) -> None:
    """Run workers on a study until they end, then report."""
    from ..fleet.run import run_fleet
    from ..report.status import load_summary

    database = open_database(storage)
    exit_code = run_fleet(
        database, name, options, stderr(), worker_count=workers, launcher=launcher
    )
    summary = load_summary(database, name)
    if as_json:
        write_json(summary.to_json())
    else:
        print_report(stdout(), summary)
    if exit_code:
        raise SystemExit(exit_code)
    command = "widthwise" if shutil.which("widthwise") else sys.argv[0]
    stderr().print(
        f"dashboard: {command} dashboard {name}\nmore trials: {command} resume {name} --trials +20",
        markup=False,
    )


def submit(
    request: StudyRequest,
    *,
    priority: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Workers without a study of their own serve the greatest first; 0 if never said. "
            "Changes that of a study which is there.",
            show_default=False,
        ),
    ] = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a study into the database for the workers that stand by, and return."""
    from ...storage.ledger.slot import StudyStatus
    from ...storage.study.control import MAX_PRIORITY
    from ...storage.study.study import load_study
    from ..report.status import study_status

    parsed_priority = None
    if priority is not None:
        parsed_priority = parse_int_option(
            "--priority", priority, minimum=-MAX_PRIORITY, maximum=MAX_PRIORITY
        )
    request.check_source("submit")
    study_name = request.create_or_join(storage, priority=parsed_priority).name
    database = open_database(storage)
    row = load_study(database, study_name)
    if as_json:
        write_json(study_status(database, row))
        return
    next_step = (
        "every `widthwise worker` that runs without a name serves it"
        if row.status == StudyStatus.OPEN
        else f"it is {row.status}: `widthwise continue {study_name}` opens it"
    )
    stdout().print(
        f"{study_name} is submitted with priority {row.priority}; {next_step}; "
        f"`widthwise status {study_name}` shows how far it is",
        markup=False,
    )
