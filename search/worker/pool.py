"""The pool: a worker without a study of its own serves every open one that its environment can run.

Greater priority first; among equals the study with the fewest workers on it, and of those the one
that was not served for the longest time. A worker stays with a study from batch to batch, since
loading another one costs seconds, until a more urgent one has slots to claim, or, after a while,
one that fewer workers serve. What does not run here (other code or data, a failing model) is set
aside with its reason.

Entry points: `serve_open_studies`; `StudyScheduler.run`, the loop.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from random import Random

from rich.console import Console

from ...storage.database import schema_version
from ...storage.database.database import Database
from ...storage.ledger import events
from ...storage.ledger.slot import StudyRow
from ...storage.study.open_studies import OpenStudy, open_studies
from ...storage.study.workers import WorkerActivity, WorkerRow, list_workers
from ..errors import Drained, Exhausted, SearchError, TooManyFailures
from .serve import WorkerOptions, build_worker, worker_context
from .shutdown import StopRequest, worker_name
from .worker import Worker

# Seconds on a study before it is left for another one of the same priority.
_QUANTUM_SECONDS = 30.0
# Seconds between two looks at what is open.
_REFRESH_SECONDS = 2.0
# Seconds until a study whose slots were gone when we came is looked at again,
_NO_SLOT_BACKOFF_SECONDS = 5.0
# and one that does not run here: its files may have been brought back.
_FAILURE_BACKOFF_SECONDS = 300.0
# Exit codes of errors that are a study's own; any other ends the worker.
_STUDY_EXIT_CODES = frozenset({1, 2, 3, 5})


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
        """The same after one that looked for a study has come to this one."""
        arrival = Counter({study_name: 1})
        return WorkerCounts(
            serving=self.serving + arrival, starting=self.starting + arrival, ahead=self.ahead - 1
        )


@dataclass(kw_only=True)
class StudyScheduler:
    """Serves open studies, one at a time.

    Attributes:
        list_open: The open studies, read anew.
        count_workers: The other workers.
        make_worker: A worker on a study, nothing loaded yet.
        stop: Asked between batches.
        on_idle: Called when there is nothing to do now.
        log: Tells people.
        record_failure: Records that a study failed too often here, with the reason.
        idle_seconds: Seconds without work after which this worker ends; None for never.
        quantum_seconds: Seconds on a study before it is left for another one of its priority.
        draw_uniform: Draws from [0, 1).
    """

    list_open: Callable[[], Sequence[OpenStudy]]
    count_workers: Callable[[], WorkerCounts]
    make_worker: Callable[[StudyRow], Worker]
    stop: StopRequest
    on_idle: Callable[[], None]
    log: Callable[[str], None]
    record_failure: Callable[[StudyRow, str], None]
    idle_seconds: float | None = None
    quantum_seconds: float = _QUANTUM_SECONDS
    draw_uniform: Callable[[], float] = Random().random  # noqa: S311 - no secret
    _workers: dict[int, Worker] = field(default_factory=dict, init=False)
    _backoff_until: dict[int, float] = field(default_factory=dict, init=False)
    _logged_reasons: dict[int, str] = field(default_factory=dict, init=False)
    _deferred: bool = field(default=False, init=False)

    def run(self) -> None:
        """Serve until a stop is asked for, or there was no work for so long.

        Raises:
            Drained: Stopped on request.
            SchemaMismatch: The tables were upgraded.
        """
        last_work_at = time.monotonic()
        while not self.stop():
            study = self._next_study()
            if study is not None and self._run_study(study):
                last_work_at = time.monotonic()
            elif study is None:
                self.on_idle()
                if (
                    self.idle_seconds is not None
                    and time.monotonic() - last_work_at >= self.idle_seconds
                ):
                    self.log(f"no work for {self.idle_seconds:g} s")
                    return
                self.stop.wait(_REFRESH_SECONDS)
        raise Drained("stopped on request")

    def _next_study(self) -> StudyRow | None:
        """The study to serve next; None if there is none now."""
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
        """The open studies that have slots to claim and are not set aside."""
        listed_studies = self.list_open()
        open_ids = {open_study.study.id for open_study in listed_studies}
        # One that was paused, or finished for all we know, is met anew when it is opened again.
        for remembered in (self._workers, self._backoff_until, self._logged_reasons):
            for closed_id in remembered.keys() - open_ids:
                del remembered[closed_id]
        now = time.monotonic()
        return [
            open_study
            for open_study in listed_studies
            if open_study.claimable and self._backoff_until.get(open_study.study.id, -inf) <= now
        ]

    def _run_study(self, study: StudyRow) -> bool:
        """Run batches of a study until it is another one's turn; whether there were any."""
        if study.id not in self._workers:
            self._workers[study.id] = self.make_worker(study)
        worker = self._workers[study.id]
        self.log(f"serving {study.name}")
        ran_batch, started_at = False, time.monotonic()
        checked_at = started_at
        try:
            worker.prepare()
            while not self.stop() and worker.run_batch():
                ran_batch = True
                if time.monotonic() - checked_at >= _REFRESH_SECONDS:
                    checked_at = time.monotonic()
                    if self._should_leave(study, checked_at - started_at):
                        break
        except Exhausted:
            self._back_off(study, "every feasible candidate was tried", _FAILURE_BACKOFF_SECONDS)
        except TooManyFailures as error:
            self._back_off(study, str(error), inf)
            self.record_failure(study, str(error))
        except SearchError as error:
            if error.exit_code not in _STUDY_EXIT_CODES:
                raise
            self._back_off(study, str(error), _FAILURE_BACKOFF_SECONDS)
        finally:
            worker.release_device()
        if not ran_batch:
            earliest = time.monotonic() + _NO_SLOT_BACKOFF_SECONDS
            self._backoff_until[study.id] = max(
                earliest, self._backoff_until.get(study.id, earliest)
            )
        return ran_batch

    def _should_leave(self, study: StudyRow, seconds: float) -> bool:
        """Whether, after so long on a study, it is another one's turn."""
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
        # All that are with me may see the same at this moment, and half the difference shall go.
        return self.draw_uniform() < max(1, (own_count - fewest_workers) // 2) / own_count

    def _back_off(self, study: StudyRow, reason: str, backoff_seconds: float) -> None:
        self._backoff_until[study.id] = time.monotonic() + backoff_seconds
        if self._logged_reasons.get(study.id) != reason:
            self._logged_reasons[study.id] = reason
            self.log(f"study {study.name} is set aside here: {reason}")


def _assigned_study(claimable: Sequence[OpenStudy], worker_counts: WorkerCounts) -> StudyRow | None:
    """The study for this worker, once those before it that look for one have theirs.

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
    """Whether slots are left over for one more worker than those on their way there."""
    return open_study.claimable > worker_counts.starting[open_study.study.name]


def _priority_key(
    open_study: OpenStudy, worker_counts: WorkerCounts
) -> tuple[int, int, float, int]:
    """What the studies are put in order by: the first one's turn it is."""
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
        console: Where each trial is told.
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
            make_worker=lambda row: build_worker(row, context),
            stop=context.stop,
            on_idle=lambda: context.heartbeat.set_activity(WorkerActivity.WAITING),
            log=context.log,
            record_failure=record_failure,
            idle_seconds=idle_seconds,
        ).run()
