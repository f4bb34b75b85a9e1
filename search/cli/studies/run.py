"""The verbs that spend budget: `run`, `resume` and `worker`; and `submit`, which leaves it."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ...command import format_command
from ...errors import NothingLearned, SearchError, SpecError
from ...flags import parse_int_option, seconds
from ...follow_up_kind import continue_command
from ...worker.options import FleetWorkerOptions, WorkerOptions
from ..options import (
    JsonOption,
    LauncherOption,
    StorageOption,
    StudyArgument,
    WorkersOption,
    expand_options,
    open_database,
    open_worker_database,
    parse_name,
    stderr,
    stdout,
    write_json,
)
from ..printed_report import print_report
from ..study_options import StudyRequest

if TYPE_CHECKING:
    from ....storage.database.database import Database
    from ...fleet.worker_fleet import Launcher

ConfirmOption = Annotated[
    bool,
    typer.Option(
        "--confirm/--no-confirm",
        envvar="WIDTHWISE_CONFIRM",
        help="Whether to confirm the answer at the end by long trainings with fresh seeds.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("run")(expand_options(run))
    app.command("resume")(expand_options(resume))
    app.command("worker")(expand_options(worker))
    app.command("submit")(expand_options(submit))


def run(
    request: StudyRequest,
    *,
    workers: WorkersOption = 1,
    options: FleetWorkerOptions,
    on: LauncherOption = "local",
    confirm: ConfirmOption = True,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search widths: from a spec file, or for a data file without any spec."""
    from ...fleet.worker_fleet import Launcher
    from ...report.confirmation.saving import stated_joules_per_flop
    from ...tracking.registry import require_installed

    launcher = Launcher.parse(on)
    request.check_source("run")
    require_installed(options.track or ())
    stated_joules_per_flop()  # the report at the end needs it
    study_name = request.create_or_join(storage, device=options.device).name
    _run_to_the_end(
        open_database(storage),
        study_name,
        options,
        workers=workers,
        launcher=launcher,
        confirm=confirm,
        as_json=as_json,
    )


def resume(
    name: StudyArgument,
    *,
    trials: Annotated[
        str | None,
        typer.Option("--trials", "-n", help='"+20" adds twenty to the budget, "60" makes it 60.'),
    ] = None,
    untrained_ok: Annotated[
        bool,
        typer.Option(
            "--untrained-ok", help="Go on with a study that was stopped as it learned nothing."
        ),
    ] = False,
    workers: WorkersOption = 1,
    options: FleetWorkerOptions,
    on: LauncherOption = "local",
    confirm: ConfirmOption = True,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a study, also a paused or cancelled one: finish its budget, or extend it first."""
    from ....storage.study.study import load_study
    from ...fleet.worker_fleet import Launcher
    from ...problem.stored import stored_spec
    from ...report.confirmation.saving import stated_joules_per_flop
    from ...spec.device import device_for
    from ...study import parse_budget_change, reopen_study
    from ...tracking.registry import require_installed

    launcher = Launcher.parse(on)
    require_installed(options.track or ())
    stated_joules_per_flop()  # the report at the end needs it
    change = parse_budget_change(trials)
    database = open_database(storage)
    # Before anything is changed.
    device_for(name, stored_spec(load_study(database, name)).proxy.device, options.device)
    reopen_study(database, name, change, stderr(), untrained_ok=untrained_ok)
    _run_to_the_end(
        database,
        name,
        options,
        workers=workers,
        launcher=launcher,
        confirm=confirm,
        as_json=as_json,
    )


def worker(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", parser=parse_name, help="A study; every open one in turn if left out."
        ),
    ] = None,
    *,
    storage: StorageOption = None,
    options: WorkerOptions,
    idle: Annotated[
        float | None,
        typer.Option(
            parser=seconds("--idle", 0.0),
            metavar="SECONDS",
            help="Seconds without work after which a worker without a study ends; else it stays.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Work on a study until its budget is spent, or on all that come; start as many as you like."""
    from ....storage.ledger.queries import LedgerReader
    from ....storage.ledger.slot import StudyStatus
    from ....storage.study.study import load_study
    from ...worker.pool import serve_open_studies
    from ...worker.serve import study_worker

    database = open_worker_database(storage)
    if name is None:
        serve_open_studies(database, options, stderr(), idle_seconds=idle)
        return
    if idle is not None:
        raise SpecError(
            f"--idle goes with a worker without a study: leave {name} out, since a worker of one "
            "study ends with its budget"
        )
    row = load_study(database, name)
    with study_worker(database, name, options, stderr()) as study:
        status = study.run()
    if status is StudyStatus.CANCELLED:
        reader = LedgerReader(database, load_study(database, name))
        if (reason := reader.untrained_reason()) is not None:
            again = format_command("resume", name, options=["--untrained-ok"])
            raise NothingLearned(f"{reason} `{again}` goes on all the same.")
        stderr().print(
            f"study {name} was cancelled; `{continue_command(name, row.kind)}` opens it again",
            markup=False,
        )


def _run_to_the_end(
    database: Database,
    name: str,
    options: FleetWorkerOptions,
    *,
    workers: int,
    launcher: Launcher,
    confirm: bool,
    as_json: bool,
) -> None:
    """Run workers on a study, confirm its answer, and print the report, whatever came of it."""
    from ....objectives.errors import ObjectiveError
    from ....storage.errors import StudyMismatch
    from ...fleet.run import run_fleet
    from ...fleet.worker_count import resolve_worker_count
    from ...followup.confirm import (
        announce_confirmation,
        confirm_finished,
        describe_unconfirmed,
    )
    from ...worker.shutdown import StopRequest

    workers = resolve_worker_count(workers, database, name, options, stderr(), launcher)
    stop, error = StopRequest(), None
    if confirm:
        announce_confirmation(database, name, stderr())
    exit_code = run_fleet(
        database,
        name,
        options,
        stderr(),
        worker_count=workers,
        launcher=launcher,
        stop=stop,
    )
    if confirm and exit_code == 0:
        try:
            confirm_finished(
                database,
                name,
                options,
                stderr(),
                worker_count=workers,
                launcher=launcher,
                stop=stop,
            )
        except (SearchError, ObjectiveError, StudyMismatch) as unconfirmed:
            error = unconfirmed  # what the search found is told all the same
    elif confirm:
        stderr().print(describe_unconfirmed(database, name), markup=False, soft_wrap=True)
    _report_run(database, name, exit_code, as_json=as_json)
    if error is not None:
        raise error


def _report_run(database: Database, name: str, exit_code: int, *, as_json: bool) -> None:
    """Print the report of a study whose workers have ended; exit if they did not finish."""
    from ...report.status import load_summary
    from ...sampler.best_candidate import MIN_TRAININGS

    summary = load_summary(database, name)
    is_confirmed = summary.confirmation is not None and summary.confirmation.complete
    if as_json:
        write_json(summary.to_json())
    else:
        print_report(stdout(), summary)
    if exit_code:
        raise SystemExit(exit_code)
    program = "widthwise" if shutil.which("widthwise") else sys.argv[0]
    lines = [f"dashboard: {format_command('dashboard', name, program=program)}"]
    if not is_confirmed and summary.counts.complete >= MIN_TRAININGS:
        lines += [f"confirm the answer: {format_command('confirm', name, program=program)}"]
    # Workers that end in good order and leave trials found no candidate for them.
    if summary.exhausted or summary.counts.waiting:
        lines += ["more trials would find nothing new: every feasible candidate was tried"]
    else:
        more = format_command("resume", name, options=["--trials", "+20"], program=program)
        lines += [f"more trials: {more}"]
    for line in lines:
        stderr().print(line, markup=False, soft_wrap=True)


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
    from ....storage.ledger.slot import StudyStatus
    from ....storage.study.control import MAX_PRIORITY
    from ....storage.study.study import load_study
    from ...report.status import study_status
    from ...study import opening_command

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
        else f"it is {row.status}: `{opening_command(database, row)}` opens it"
    )
    stdout().print(
        f"{study_name} is submitted with priority {row.priority}; {next_step}; "
        f"`{format_command('status', study_name)}` shows how far it is",
        markup=False,
    )
