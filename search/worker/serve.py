"""Serving: what a worker process is made of, and the worker that serves one study by name.

A child process trains; this one keeps the leases and says that it is there.

Entry points: `serve`; `worker_for`, a worker on one study, for the pool too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from ...storage.database.database import Database
from ...storage.ledger.ledger import Ledger
from ...storage.ledger.slot import StudyRow
from ...storage.projection.projection import Projection
from ...storage.study.study import load_study
from ..problem.stored import spec_of
from ..trial.outcome import Outcome
from .heartbeat import BEATS_PER_LEASE, Announcer
from .shutdown import StopRequest, stop_on_signals, worker_name
from .supervisor import Holder
from .trainer_process import Child
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a worker process works, whatever it serves.

    Attributes:
        lease: Seconds without a heartbeat until another worker takes a slot over.
        threads: CPU threads of a training.
        grace: Seconds that a training may go on once a stop was asked for.
        checkpoints: Folder for checkpoints; None for the usual place.
        parent: Process whose end is a request to stop; None for none.
    """

    lease: float = 30.0
    threads: int = 1
    grace: float = 25.0
    checkpoints: str | None = None
    parent: int | None = None


@dataclass(frozen=True, kw_only=True)
class Post:
    """What a worker process has from its beginning to its end.

    Attributes:
        database: Where the studies are.
        terms: How it works.
        stop: Whether it was asked to end.
        announcer: Says in the database that it is there.
        console: Where each trial is told.
    """

    database: Database
    terms: Terms
    stop: StopRequest
    announcer: Announcer
    console: Console

    def say(self, sentence: str) -> None:
        """Tell people."""
        self.console.print(sentence, markup=False)


@contextmanager
def at_post(database: Database, terms: Terms, console: Console) -> Iterator[Post]:
    """A worker process on duty: its stop signals are heard, and it is announced."""
    stop = StopRequest(parent=terms.parent)
    announcer = Announcer(database, name=worker_name(), beat_seconds=terms.lease / BEATS_PER_LEASE)
    with stop_on_signals(stop.request), announcer:
        yield Post(database=database, terms=terms, stop=stop, announcer=announcer, console=console)


def serve(database: Database, name: str, terms: Terms, console: Console) -> None:
    """Work on a study until its budget is spent or it is cancelled; wait while it is paused.

    Args:
        database: Where the study is.
        name: The study's name.
        terms: How to work.
        console: Where each trial is told.

    Raises:
        FingerprintMismatch: The model's code or the data changed since the study began.
        Drained: A signal asked to stop.
        Exhausted: Every feasible candidate was tried.
        TooManyFailures: Training failed too often in a row.
    """
    row = load_study(database, name)
    with at_post(database, terms, console) as post:
        worker = worker_for(row, post)
        try:
            status = worker.run()
        finally:
            worker.rest()
    if status == "cancelled":
        post.say(f"study {name} was cancelled; `widthwise resume {name}` opens it again")


def worker_for(row: StudyRow, post: Post) -> Worker:
    """A worker on one study: nothing is loaded and nothing claimed before its first step.

    The child that its first step starts compares the study's fingerprint with what is here, before
    anything is claimed.
    """
    terms, stop = post.terms, post.stop
    spec = spec_of(row)
    from ..trial.checkpoints import folder_for  # loads torch

    ledger = Ledger(post.database, row, worker=worker_name(), lease_seconds=terms.lease)
    child = Child(
        row.name,
        post.database.url,
        worker=worker_name(),
        lease_seconds=terms.lease,
        threads=terms.threads,
        grace_seconds=terms.grace,
        stopping=lambda: stop() or holder.wanted != "open",
        checkpoints=folder_for(terms.checkpoints, post.database.url, row),
    )

    def tell(activity: str) -> None:
        post.announcer.tell(activity, study=row, device=child.device or None)

    def told(outcome: Outcome) -> None:
        if child.note:
            post.say(child.note)
            child.note = ""
        value = "" if outcome.value is None else f" {spec.metric} {outcome.value:.4f}"
        detail = f" ({outcome.detail})" if outcome.detail else ""
        post.say(f"trial {outcome.number}: {outcome.kind}{value}{detail}")

    holder = Holder(
        ledger=ledger,
        projection=Projection(post.database, row),
        trainer=child,
        lease_seconds=terms.lease,
        tell=tell,
    )
    return Worker(holder=holder, ledger=ledger, stop=stop, report=told, rest=child.end, tell=tell)
