"""Running a fleet: `widthwise run` starts workers on a study and stays until they end.

Entry point: `run_fleet`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from rich.console import Console

from ...storage.database.database import Database
from ...storage.ledger.queries import LedgerReader
from ...storage.ledger.slot import StudyRow, StudyStatus
from ...storage.study.study import load_study
from ..command import format_command
from ..errors import Drained, NothingLearned, SpecError
from ..follow_up_kind import continue_command
from ..problem.stored import stored_spec
from ..report.progress import count_finished, follow_progress
from ..spec.device import device_for
from ..worker.options import FleetWorkerOptions
from ..worker.shutdown import StopRequest, stop_on_signals
from .devices import assign_workers, count_gpus, describe_assignment
from .forked_worker import ForkedWorker, check_fork
from .in_process import InProcessFleet
from .local import LocalFleet
from .worker_fleet import Launcher, WorkerFleet
from .worker_process import WorkerExit, WorkerProcess


def run_fleet(
    database: Database,
    name: str,
    options: FleetWorkerOptions,
    console: Console,
    *,
    worker_count: int,
    launcher: Launcher = Launcher.LOCAL,
    stop: StopRequest | None = None,
    command: str | None = None,
    start_worker: Callable[..., WorkerProcess] = WorkerProcess,
    gpu_count: Callable[[], int] = count_gpus,
) -> int:
    """Run worker processes on a study and show its progress until they end.

    Args:
        database: Where the study is.
        name: The study's name.
        options: How each of them works.
        console: Where progress is written.
        worker_count: How many to start at most.
        launcher: Where.
        stop: Learns of a stop that is asked for meanwhile; for whoever goes on after it.
        command: What goes on with it after an early end; None for that of the study's kind.
        start_worker: Starts one on this machine.
        gpu_count: Returns how many GPUs this machine has.

    Returns:
        The exit code: 0 when the budget is spent or every candidate was tried, 4 when nothing was
        learned, 75 when the study was cancelled, else the worst worker's.

    Raises:
        SpecError: Ray is asked for and not there, or the device is not the study's.
        KeyboardInterrupt: A second Ctrl-C; workers were killed, their slots come back.
    """
    database.patient = True  # as the workers are
    study = load_study(database, name)
    spec = stored_spec(study)
    device = device_for(name, spec.proxy.device, options.device)
    reader = LedgerReader(database, study)
    counts = reader.counts()
    if count_finished(counts) == counts.budget or reader.status() == StudyStatus.CANCELLED:
        return _report_end(reader, study, [], console, command)
    goal, limits = spec.goal_for(study.direction), spec.limits.bounds
    _log_running_elsewhere(reader, console)
    fleet_size = min(worker_count, counts.budget - count_finished(counts))
    # A command line is bytes to the system, whatever its locale makes of them.
    encoded_name = os.fsdecode(name.encode())
    arguments = ["worker", *options.to_arguments(), "--", encoded_name]
    stop_request = stop or StopRequest()
    fleet: WorkerFleet
    if launcher is Launcher.RAY:
        from .ray import RayFleet  # Ray is an extra

        if ":" in device:
            raise SpecError(
                f'--on ray: found the device "{device}", but Ray itself gives each worker its GPU; '
                'write "cuda"'
            )
        fleet = RayFleet(
            arguments,
            fleet_size,
            database.url,
            threads=options.threads,
            workers_per_gpu=options.workers_per_gpu if device == "cuda" else None,
        )
    elif launcher is Launcher.IN_PROCESS:
        fleet = InProcessFleet(database, name, options, stop_request)
    elif launcher is Launcher.FORK:
        check_fork(device, options.threads)
        fleet = LocalFleet(
            [
                ForkedWorker(database.url, name, options, environment=assigned.environment())
                for assigned in assign_workers(device, fleet_size, os.environ, gpu_count)
            ]
        )
    else:
        devices = assign_workers(device, fleet_size, os.environ, gpu_count)
        if assignment := describe_assignment(devices, device, options.workers_per_gpu):
            console.print(assignment, markup=False)
        fleet = LocalFleet(
            [
                start_worker(arguments, database.url, environment=assigned.environment())
                for assigned in devices
            ]
        )
    try:
        with (
            stop_on_signals(stop_request.request),
            follow_progress(console, name, reader, goal, spec.metric, limits) as update,
        ):

            def tick() -> None:
                update()
                if stop_request() and fleet.running():
                    console.print("stopping: each worker ends its epoch and gives its slot back …")
                    fleet.drain()

            exits = fleet.watch(tick)
    finally:
        fleet.close()
    return _report_end(reader, study, exits, console, command)


def _log_running_elsewhere(reader: LedgerReader, console: Console) -> None:
    running, lease_seconds_left = reader.counts().running, reader.seconds_until_claimable()
    if lease_seconds_left is not None and running:
        console.print(
            f"other workers hold {running} of the trials; what a dead one holds comes back "
            f"when its lease ends, the first in {lease_seconds_left:.0f} s",
            markup=False,
        )


def _report_end(
    reader: LedgerReader,
    study: StudyRow,
    exits: Sequence[WorkerExit],
    console: Console,
    command: str | None,
) -> int:
    """Write how the fleet ended; return the exit code."""
    counts = reader.counts()
    finished_trials, budget = count_finished(counts), counts.budget
    if (reason := reader.untrained_reason()) is not None:
        insist = (
            format_command("resume", study.name, options=["--untrained-ok"])
            if command is None
            else "untrained_ok=True"
        )
        console.print(
            f"stopped with {finished_trials} of {budget} trials done. {reason} `{insist}` goes on "
            "all the same.",
            markup=False,
            style="red",
        )
        return NothingLearned.exit_code
    if finished_trials == budget:
        return 0
    for worker_exit in exits:
        if worker_exit.exit_code not in (0, Drained.exit_code):
            # What it wrote last says nothing of why somebody killed it.
            killed = worker_exit.exit_code < 0
            reason = (
                f"it was killed by signal {-worker_exit.exit_code}"
                if killed
                else worker_exit.message or f"exit code {worker_exit.exit_code}"
            )
            console.print(f"a worker ended early: {reason}", markup=False, style="red")
    exit_codes = [worker_exit.exit_code for worker_exit in exits if worker_exit.exit_code]
    cancelled = reader.status() == StudyStatus.CANCELLED
    if not exit_codes and not cancelled:
        console.print(f"every feasible candidate was tried: {finished_trials} trials", markup=False)
        return 0
    ending = "cancelled" if cancelled else "stopped"
    going_on = f"`{command or continue_command(study.name, study.kind)}` goes on"
    # A Python call leaves a cancelled search as it is; a follow-up's command opens its own.
    if cancelled and command is not None and study.kind is None:
        going_on = f"`{format_command('continue', study.name)}` opens it again, then {going_on}"
    console.print(
        f"{ending} with {finished_trials} of {budget} trials done; {going_on}",
        markup=False,
        soft_wrap=True,  # so that the command can be copied
    )
    return max((exit_code for exit_code in exit_codes if exit_code > 0), default=Drained.exit_code)
