"""Serving: what a worker process is made of, and the worker that serves one study by name.

A child process trains; this one keeps the leases and announces the worker.

Entry points: `study_worker`; `build_supervisor`, what runs one study's batches, for the pool too;
`start_process`, the trainer that both take unless they are given another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from rich.console import Console

from ...storage.database.database import Database
from ...storage.ledger.ledger import Ledger
from ...storage.ledger.slot import StudyRow
from ...storage.projection.projection import Projection
from ...storage.study.study import load_study
from ...storage.study.workers import WorkerActivity
from ..problem.stored import stored_spec
from ..spec.device import device_for
from ..trial.checkpoints import checkpoint_folder
from ..trial.outcome import SlotOutcome
from .heartbeat import BEATS_PER_LEASE, WorkerHeartbeat
from .messages import TrainerConfig
from .options import WorkerOptions
from .shutdown import StopRequest, stop_on_signals, worker_name
from .supervisor import Trainer, TrialSupervisor
from .trainer_process import TrainerProcess
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """What a worker process has from its beginning to its end.

    Attributes:
        database: Where the studies are.
        options: How it works.
        stop: Whether it was asked to end.
        heartbeat: Announces the worker in the database.
        console: Where the end of each trial is written.
    """

    database: Database
    options: WorkerOptions
    stop: StopRequest
    heartbeat: WorkerHeartbeat
    console: Console

    def log(self, sentence: str) -> None:
        """Write a sentence for people."""
        self.console.print(sentence, markup=False)


MakeTrainer = Callable[[TrainerConfig, WorkerContext], Trainer]
"""Makes what trains a study's slots."""


@contextmanager
def worker_context(
    database: Database,
    options: WorkerOptions,
    console: Console,
    stop: StopRequest | None = None,
) -> Iterator[WorkerContext]:
    """Announce a worker process and hear its stop signals until the block ends."""
    stop_request = stop or StopRequest(parent_pid=options.parent_pid)
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


@final
@dataclass(frozen=True, kw_only=True)
class _StudyObserver:
    """Announces what the worker does, and writes how each trial of a study ended."""

    context: WorkerContext
    study: StudyRow
    metric: str | None
    trainer: Trainer

    def activity_changed(self, activity: WorkerActivity) -> None:
        self.context.heartbeat.set_activity(
            activity, study=self.study, device=self.trainer.device or None
        )

    def slot_ended(self, outcome: SlotOutcome) -> None:
        if self.trainer.engine_note:
            self.context.log(self.trainer.engine_note)
            self.trainer.engine_note = ""
        value_text = "" if outcome.value is None else f" {self.metric} {outcome.value:.4f}"
        detail_text = f" ({outcome.detail})" if outcome.detail else ""
        self.context.log(f"trial {outcome.number}: {outcome.kind}{value_text}{detail_text}")


def start_process(config: TrainerConfig, context: WorkerContext) -> Trainer:
    """Return a trainer in a child process, which is started with the first batch."""
    return TrainerProcess(
        config,
        context.database.url,
        grace_seconds=context.options.grace_seconds,
        stop_requested=context.stop,
    )


@contextmanager
def study_worker(
    database: Database,
    name: str,
    options: WorkerOptions,
    console: Console,
    *,
    make_trainer: MakeTrainer = start_process,
    stop: StopRequest | None = None,
) -> Iterator[Worker]:
    """Make a worker on one study; its stop signals are heard until the block ends.

    Args:
        database: Where the study is.
        name: The study's name.
        options: How to work.
        console: Where the end of each trial is written.
        make_trainer: Makes what trains.
        stop: Learns of a stop that is asked for; None for one of its own.
    """
    study = load_study(database, name)
    with worker_context(database, options, console, stop) as context:
        supervisor = build_supervisor(study, context, make_trainer)
        try:
            yield Worker(supervisor=supervisor)
        finally:
            supervisor.trainer.release_device()


def build_supervisor(
    study: StudyRow, context: WorkerContext, make_trainer: MakeTrainer = start_process
) -> TrialSupervisor:
    """Return what runs one study's batches; nothing is loaded or claimed before the first one.

    The trainer that the first batch starts compares the study's fingerprint with what is here,
    before anything is claimed.
    """
    database, options = context.database, context.options
    spec = stored_spec(study)
    trainer = make_trainer(
        TrainerConfig(
            study=study.name,
            worker=worker_name(),
            lease_seconds=options.lease_seconds,
            threads=options.threads,
            workers_per_gpu=options.workers_per_gpu,
            device=device_for(study.name, spec.proxy.device, options.device),
            checkpoints=checkpoint_folder(options.checkpoints, database.url, study),
            trackers=tuple(options.track or ()),
        ),
        context,
    )
    return TrialSupervisor(
        ledger=Ledger(database, study, worker=worker_name(), lease_seconds=options.lease_seconds),
        projection=Projection(database, study),
        trainer=trainer,
        lease_seconds=options.lease_seconds,
        stop=context.stop,
        observer=_StudyObserver(context=context, study=study, metric=spec.metric, trainer=trainer),
    )
