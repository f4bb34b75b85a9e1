"""Serving: what a worker process is made of, and the worker that serves one study by name.

A child process trains; this one keeps the leases and says that it is there.

Entry points: `serve_study`; `build_worker`, a worker on one study, for the pool too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from ...storage.database.database import Database
from ...storage.ledger.ledger import Ledger
from ...storage.ledger.slot import StudyRow, StudyStatus
from ...storage.projection.projection import Projection
from ...storage.study.study import load_study
from ...storage.study.workers import WorkerActivity
from ..problem.stored import stored_spec
from ..trial.checkpoints import checkpoint_folder
from ..trial.outcome import Outcome
from .heartbeat import BEATS_PER_LEASE, WorkerHeartbeat
from .shutdown import StopRequest, stop_on_signals, worker_name
from .supervisor import TrialSupervisor
from .trainer_process import TrainerProcess
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker process works, whatever it serves.

    Attributes:
        lease_seconds: Seconds without a heartbeat until another worker takes a slot over.
        threads: CPU threads of a training.
        grace_seconds: Seconds that a training may go on once a stop was asked for.
        checkpoints: Folder for checkpoints; None for the usual place.
        parent_pid: Process whose end is a request to stop; None for none.
    """

    lease_seconds: float = 30.0
    threads: int = 1
    grace_seconds: float = 25.0
    checkpoints: str | None = None
    parent_pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """What a worker process has from its beginning to its end.

    Attributes:
        database: Where the studies are.
        options: How it works.
        stop: Whether it was asked to end.
        heartbeat: Says in the database that it is there.
        console: Where each trial is told.
    """

    database: Database
    options: WorkerOptions
    stop: StopRequest
    heartbeat: WorkerHeartbeat
    console: Console

    def log(self, sentence: str) -> None:
        """Tell people."""
        self.console.print(sentence, markup=False)


@contextmanager
def worker_context(
    database: Database, options: WorkerOptions, console: Console
) -> Iterator[WorkerContext]:
    """A worker process on duty: its stop signals are heard, and it is announced."""
    stop_request = StopRequest(parent_pid=options.parent_pid)
    heartbeat = WorkerHeartbeat(
        database, name=worker_name(), beat_seconds=options.lease_seconds / BEATS_PER_LEASE
    )
    with stop_on_signals(stop_request.request), heartbeat:
        yield WorkerContext(
            database=database,
            options=options,
            stop=stop_request,
            heartbeat=heartbeat,
            console=console,
        )


def serve_study(database: Database, name: str, options: WorkerOptions, console: Console) -> None:
    """Work on a study until its budget is spent or it is cancelled; wait while it is paused.

    Args:
        database: Where the study is.
        name: The study's name.
        options: How to work.
        console: Where each trial is told.

    Raises:
        FingerprintMismatch: The model's code or the data changed since the study began.
        Drained: A signal asked to stop.
        Exhausted: Every feasible candidate was tried.
        TooManyFailures: Training failed too often in a row.
    """
    study = load_study(database, name)
    with worker_context(database, options, console) as context:
        worker = build_worker(study, context)
        try:
            status = worker.run()
        finally:
            worker.release_device()
    if status == StudyStatus.CANCELLED:
        context.log(f"study {name} was cancelled; `widthwise resume {name}` opens it again")


def build_worker(study: StudyRow, context: WorkerContext) -> Worker:
    """A worker on one study: nothing is loaded and nothing claimed before its first step.

    The child that its first step starts compares the study's fingerprint with what is here, before
    anything is claimed.
    """
    options, stop_request = context.options, context.stop
    spec = stored_spec(study)
    ledger = Ledger(
        context.database, study, worker=worker_name(), lease_seconds=options.lease_seconds
    )
    trainer = TrainerProcess(
        study.name,
        context.database.url,
        worker=worker_name(),
        lease_seconds=options.lease_seconds,
        threads=options.threads,
        grace_seconds=options.grace_seconds,
        stop_requested=lambda: stop_request() or supervisor.last_status != StudyStatus.OPEN,
        checkpoints=checkpoint_folder(options.checkpoints, context.database.url, study),
    )

    def report_activity(activity: WorkerActivity) -> None:
        context.heartbeat.set_activity(activity, study=study, device=trainer.device_class or None)

    def log_outcome(outcome: Outcome) -> None:
        if trainer.engine_note:
            context.log(trainer.engine_note)
            trainer.engine_note = ""
        value_text = "" if outcome.value is None else f" {spec.metric} {outcome.value:.4f}"
        detail_text = f" ({outcome.detail})" if outcome.detail else ""
        context.log(f"trial {outcome.number}: {outcome.kind}{value_text}{detail_text}")

    supervisor = TrialSupervisor(
        ledger=ledger,
        projection=Projection(context.database, study),
        trainer=trainer,
        lease_seconds=options.lease_seconds,
        on_activity=report_activity,
    )
    return Worker(
        supervisor=supervisor,
        ledger=ledger,
        stop=stop_request,
        on_outcome=log_outcome,
        release_device=trainer.kill,
        on_activity=report_activity,
    )
