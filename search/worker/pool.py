"""The pool: a worker without a study of its own serves every open one that its environment can run.

Greater priority first; among equals the study with the fewest workers on it, and of those the one
that was not served for the longest time. A worker stays with a study from batch to batch, since
loading another one costs seconds, until a more urgent one has slots to claim, or, after a while,
one that fewer workers serve. From a study that does not run here (other code or data, a failing
model) it backs off.

Entry points: `serve_open_studies`; `StudyScheduler.run`, the loop.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from random import Random
from typing import final

from rich.console import Console

from ...storage.database import schema_version
from ...storage.database.database import Database
from ...storage.ledger import events
from ...storage.ledger.slot import StudyRow
from ...storage.study.open_studies import OpenStudy, open_studies
from ...storage.study.workers import WorkerActivity, WorkerRow, list_workers
from ..errors import Drained, Exhausted, SearchError, TooManyFailures
from .options import WorkerOptions
from .serve import build_supervisor, worker_context
from .shutdown import StopRequest, worker_name
from .supervisor import TrialSupervisor

# Seconds on a study before it is left for another one of the same priority.
_QUANTUM_SECONDS = 30.0
# Seconds between two readings of what is open.
_REFRESH_SECONDS = 2.0
# Seconds until a study is tried again whose slots were gone when this worker came to it,
_NO_SLOT_BACKOFF_SECONDS = 5.0
# and one that does not run here: its files may have been brought back.
_FAILURE_BACKOFF_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class WorkerCounts:
    """The other workers that are alive.

    Attributes:
        serving: How many are on each study, by its name.
        starting: Those of them that have not claimed anything yet.
        ahead: How many look for a study, as this worker does, and come before it by name.
    """

    serving: Counter[str]
    starting: Counter[str]
    ahead: int = 0

    @classmethod
    def from_workers(cls, workers: Sequence[WorkerRow], own_name: str) -> WorkerCounts:
        """Count those that are alive, but for this worker."""
        alive_workers = [worker for worker in workers if worker.alive and worker.name != own_name]
        activities = [
            (worker.study, worker.activity) for worker in alive_workers if worker.study is not None
        ]
        return cls(
            serving=Counter(study for study, _ in activities),
            starting=Counter(
                study for study, activity in activities if activity == WorkerActivity.STARTING
            ),
            ahead=sum(worker.study is None and worker.name < own_name for worker in alive_workers),
        )

    def with_arrival(self, study_name: str) -> WorkerCounts:
        """Return the counts after one that looked for a study has come to this one."""
        arrival = Counter({study_name: 1})
        return WorkerCounts(
            serving=self.serving + arrival, starting=self.starting + arrival, ahead=self.ahead - 1
        )


@dataclass(kw_only=True)
class _StudyState:
    """What this worker remembers of an open study.

    Attributes:
        supervisor: Runs its batches; None before the first visit.
        backoff_until: When it may be served again, by the scheduler's clock.
        logged_reason: Why it was set aside, as it was last written.
    """

    supervisor: TrialSupervisor | None = None
    backoff_until: float = -inf
    logged_reason: str = ""


@final
@dataclass(kw_only=True)
class StudyScheduler:
    """Serves open studies, one at a time.

    Attributes:
        list_open: The open studies, read anew.
        count_workers: The other workers.
        make_supervisor: What runs a study's batches, nothing loaded yet.
        stop: Asked between batches.
        on_idle: Called when there is nothing to do now.
        log: Writes a sentence for people.
        record_failure: Records that a study failed too often here, with the reason.
        idle_seconds: Seconds without work after which this worker ends; None for never.
        quantum_seconds: Seconds on a study before it is left for another one of its priority.
        draw_uniform: Draws from [0, 1).
        clock: Seconds that never go back.
    """

    list_open: Callable[[], Sequence[OpenStudy]]
    count_workers: Callable[[], WorkerCounts]
    make_supervisor: Callable[[StudyRow], TrialSupervisor]
    stop: StopRequest
    on_idle: Callable[[], None]
    log: Callable[[str], None]
    record_failure: Callable[[StudyRow, str], None]
    idle_seconds: float | None = None
    quantum_seconds: float = _QUANTUM_SECONDS
    draw_uniform: Callable[[], float] = Random().random  # noqa: S311 - no secret
    clock: Callable[[], float] = time.monotonic
    _states: dict[int, _StudyState] = field(default_factory=dict, init=False)
    _deferred: bool = field(default=False, init=False)

    def run(self) -> None:
        """Serve until a stop is asked for, or there was no work for `idle_seconds`.

        Raises:
            Drained: Stopped on request.
            SchemaMismatch: The tables were upgraded.
        """
        last_work_at = self.clock()
        while not self.stop():
            study = self._next_study()
            if study is not None and self._run_study(study):
                last_work_at = self.clock()
            elif study is None:
                self.on_idle()
                if (
                    self.idle_seconds is not None
                    and self.clock() - last_work_at >= self.idle_seconds
                ):
                    self.log(f"no work for {self.idle_seconds:g} s")
                    return
                self.stop.wait(_REFRESH_SECONDS)
        raise Drained("stopped on request")

    def _next_study(self) -> StudyRow | None:
        """Return the study to serve next; None if there is none now."""
        claimable = self._claimable()
        if not claimable:
            return None
        worker_counts = self.count_workers()
        study = _assigned_study(claimable, worker_counts)
        if study is None and self._deferred:
            # Those before us had the time to begin: they may not be able to run it.
            study = _assigned_study(claimable, replace(worker_counts, ahead=0))
        self._deferred = study is None
        return study

    def _claimable(self) -> list[OpenStudy]:
        """Return the open studies that have slots to claim and are not set aside."""
        listed_studies = self.list_open()
        open_ids = {open_study.study.id for open_study in listed_studies}
        # Nothing is remembered of one that was paused, or has finished, when it is opened again.
        for closed_id in self._states.keys() - open_ids:
            del self._states[closed_id]
        now = self.clock()
        return [
            open_study
            for open_study in listed_studies
            if open_study.claimable and self._state(open_study.study).backoff_until <= now
        ]

    def _state(self, study: StudyRow) -> _StudyState:
        return self._states.setdefault(study.id, _StudyState())

    def _run_study(self, study: StudyRow) -> bool:
        """Run batches of a study until it is another one's turn; return whether there were any."""
        state = self._state(study)
        ran_batch, started_at = False, self.clock()
        checked_at = started_at
        try:
            supervisor = state.supervisor = state.supervisor or self.make_supervisor(study)
            self.log(f"serving {study.name}")
            supervisor.prepare()
            while not self.stop() and supervisor.run_batch():
                ran_batch = True
                if self.clock() - checked_at >= _REFRESH_SECONDS:
                    checked_at = self.clock()
                    if self._should_leave(study, checked_at - started_at):
                        break
        except Exhausted:
            self._back_off(study, "every feasible candidate was tried", _FAILURE_BACKOFF_SECONDS)
        except TooManyFailures as error:
            self._back_off(study, str(error), inf)
            self.record_failure(study, str(error))
        except SearchError as error:
            if not error.belongs_to_study:
                raise
            self._back_off(study, str(error), _FAILURE_BACKOFF_SECONDS)
        finally:
            if state.supervisor is not None:
                state.supervisor.trainer.release_device()
        if not ran_batch:
            earliest = self.clock() + _NO_SLOT_BACKOFF_SECONDS
            state.backoff_until = max(earliest, state.backoff_until)
        return ran_batch

    def _should_leave(self, study: StudyRow, seconds: float) -> bool:
        """Return whether, after so many seconds on a study, it is another one's turn."""
        claimable = self._claimable()
        current = next(
            (open_study for open_study in claimable if open_study.study.id == study.id), None
        )
        if current is None:
            return True
        others = [
            open_study
            for open_study in claimable
            if open_study.study.priority >= current.study.priority
        ]
        others.remove(current)
        if not others:
            return False
        worker_counts = self.count_workers()
        others = [open_study for open_study in others if _has_free_slot(open_study, worker_counts)]
        if any(open_study.study.priority > current.study.priority for open_study in others):
            return True
        if seconds < self.quantum_seconds or not others:
            return False
        own_count = worker_counts.serving[study.name] + 1
        fewest_workers = min(worker_counts.serving[open_study.study.name] for open_study in others)
        if fewest_workers and fewest_workers + 2 > own_count:
            return False
        # All workers of this study may see the same now: half the difference shall leave.
        return self.draw_uniform() < max(1, (own_count - fewest_workers) // 2) / own_count

    def _back_off(self, study: StudyRow, reason: str, backoff_seconds: float) -> None:
        """Leave a study alone for some time; write the reason, unless it is the same again."""
        state = self._state(study)
        state.backoff_until = self.clock() + backoff_seconds
        if state.logged_reason != reason:
            state.logged_reason = reason
            self.log(f"study {study.name} is set aside here: {reason}")


def _assigned_study(claimable: Sequence[OpenStudy], worker_counts: WorkerCounts) -> StudyRow | None:
    """Return the study for this worker, once those before it that look for one have theirs.

    None where that leaves no slot.
    """
    while with_free_slots := [
        open_study for open_study in claimable if _has_free_slot(open_study, worker_counts)
    ]:
        study = min(
            with_free_slots, key=lambda open_study: _priority_key(open_study, worker_counts)
        ).study
        if not worker_counts.ahead:
            return study
        worker_counts = worker_counts.with_arrival(study.name)
    return None


def _has_free_slot(open_study: OpenStudy, worker_counts: WorkerCounts) -> bool:
    """Return whether there are more slots than workers that are starting on the study."""
    return open_study.claimable > worker_counts.starting[open_study.study.name]


def _priority_key(
    open_study: OpenStudy, worker_counts: WorkerCounts
) -> tuple[int, int, float, int]:
    """Return what studies are ordered by: the least is served next."""
    study = open_study.study
    last_claim = -inf if open_study.last_claim is None else open_study.last_claim
    return -study.priority, worker_counts.serving[study.name], last_claim, study.id


def serve_open_studies(
    database: Database,
    options: WorkerOptions,
    console: Console,
    *,
    idle_seconds: float | None = None,
) -> None:
    """Serve every open study of a database that runs here.

    Args:
        database: Where the studies are.
        options: How to work.
        console: Where the end of each trial is written.
        idle_seconds: Seconds without work after which the worker ends; None for never.

    Raises:
        Drained: A signal asked to stop.
        SchemaMismatch: The tables were upgraded to another release's.
        StorageUnreachable: The database stayed away.
    """

    def list_open() -> list[OpenStudy]:
        database.read(lambda connection: schema_version.check(connection, database.url))
        return open_studies(database, lease_seconds=options.lease_seconds)

    def record_failure(study: StudyRow, reason: str) -> None:
        entry = events.NewEvent(
            kind=events.EventKind.FAILED, worker=worker_name(), detail={"error": reason}
        )
        database.write(lambda connection: events.append(connection, study.id, entry))

    with worker_context(database, options, console) as context:
        StudyScheduler(
            list_open=list_open,
            count_workers=lambda: WorkerCounts.from_workers(list_workers(database), worker_name()),
            make_supervisor=lambda row: build_supervisor(row, context),
            stop=context.stop,
            on_idle=lambda: context.heartbeat.set_activity(WorkerActivity.WAITING),
            log=context.log,
            record_failure=record_failure,
            idle_seconds=idle_seconds,
        ).run()
