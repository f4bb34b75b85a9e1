"""The pool: a worker without a study of its own serves every open one that its environment can run.

Greater priority first; among equals the study with the fewest workers on it, and of those the one
that was not served for the longest time. A worker stays with a study from batch to batch, since
loading another one costs seconds, until a more urgent one has slots to claim, or, after a while,
one that fewer workers serve. What does not run here (other code or data, a failing model) is set
aside with its reason.

Entry points: `serve_pool`; `Pool.run`, the loop.
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
from ...storage.study.open_studies import Standing, open_studies
from ...storage.study.workers import WorkerRow, list_workers
from ..errors import Drained, Exhausted, SearchError, TooManyFailures
from .serve import Terms, at_post, worker_for
from .shutdown import StopRequest, worker_name
from .worker import Worker

# Seconds on a study before it is left for another one of the same priority.
_QUANTUM = 30.0
# Seconds between two looks at what is open.
_LOOK_SECONDS = 2.0
# Seconds until a study whose slots were gone when we came is looked at again,
_SOON_SECONDS = 5.0
# and one that does not run here: its files may have been brought back.
_LATER_SECONDS = 300.0
# Exit codes of errors that are a study's own; any other ends the worker.
_OF_THE_STUDY = frozenset({1, 2, 3, 5})


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """The other workers that are alive.

    Attributes:
        serving: How many are on each study, by its name.
        starting: Those of them that have not claimed anything yet.
        before: How many look for a study, as this worker does, and come before it by name.
    """

    serving: Counter[str]
    starting: Counter[str]
    before: int = 0

    @classmethod
    def of(cls, workers: Sequence[WorkerRow], me: str) -> Crowd:
        """Count those that are alive, but for this worker."""
        there = [one for one in workers if one.alive and one.name != me]
        served = [(one.study, one.activity) for one in there if one.study is not None]
        return cls(
            serving=Counter(study for study, _ in served),
            starting=Counter(study for study, activity in served if activity == "starting"),
            before=sum(one.study is None and one.name < me for one in there),
        )

    def with_one_more(self, study: str) -> Crowd:
        """The same after one that looked for a study has come to this one."""
        more = Counter({study: 1})
        return Crowd(
            serving=self.serving + more, starting=self.starting + more, before=self.before - 1
        )


@dataclass(kw_only=True)
class Pool:
    """Serves open studies, one at a time.

    Attributes:
        look: The open studies, read anew.
        crowd: The other workers.
        worker: A worker on a study, nothing loaded yet.
        stop: Asked between batches.
        wait: Called when there is nothing to do now.
        say: Tells people.
        give_up: Records that a study failed too often here, with the reason.
        idle: Seconds without work after which this worker ends; None for never.
        quantum: Seconds on a study before it is left for another one of its priority.
        chance: Draws from [0, 1).
    """

    look: Callable[[], Sequence[Standing]]
    crowd: Callable[[], Crowd]
    worker: Callable[[StudyRow], Worker]
    stop: StopRequest
    wait: Callable[[], None]
    say: Callable[[str], None]
    give_up: Callable[[StudyRow, str], None]
    idle: float | None = None
    quantum: float = _QUANTUM
    chance: Callable[[], float] = Random().random  # noqa: S311 - no secret
    _workers: dict[int, Worker] = field(default_factory=dict, init=False)
    _aside: dict[int, float] = field(default_factory=dict, init=False)
    _said: dict[int, str] = field(default_factory=dict, init=False)
    _waited: bool = field(default=False, init=False)

    def run(self) -> None:
        """Serve until a stop is asked for, or there was no work for so long.

        Raises:
            Drained: Stopped on request.
            SchemaMismatch: The tables were upgraded.
        """
        last = time.monotonic()
        while not self.stop():
            chosen = self._choose()
            if chosen is not None and self._serve(chosen):
                last = time.monotonic()
            elif chosen is None:
                self.wait()
                if self.idle is not None and time.monotonic() - last >= self.idle:
                    self.say(f"no work for {self.idle:g} s")
                    return
                self.stop.wait(_LOOK_SECONDS)
        raise Drained("stopped on request")

    def _choose(self) -> StudyRow | None:
        """The study to serve next; None if there is none now."""
        claimable = self._claimable()
        if not claimable:
            return None
        crowd = self.crowd()
        first = _share(claimable, crowd)
        if first is None and self._waited:
            # Those before us had the time to begin: they may not be able to run it.
            first = _share(claimable, replace(crowd, before=0))
        self._waited = first is None
        return first

    def _claimable(self) -> list[Standing]:
        """The open studies that have slots to claim and are not set aside."""
        standings = self.look()
        there = {one.study.id for one in standings}
        # One that was paused, or finished for all we know, is met anew when it is opened again.
        for kept in (self._workers, self._aside, self._said):
            for gone in kept.keys() - there:
                del kept[gone]
        now = time.monotonic()
        return [
            one for one in standings if one.claimable and self._aside.get(one.study.id, -inf) <= now
        ]

    def _serve(self, study: StudyRow) -> bool:
        """Run batches of a study until it is another one's turn; whether there were any."""
        if study.id not in self._workers:
            self._workers[study.id] = self.worker(study)
        worker = self._workers[study.id]
        self.say(f"serving {study.name}")
        worked, since = False, time.monotonic()
        looked = since
        try:
            worker.begin()
            while not self.stop() and worker.step():
                worked = True
                if time.monotonic() - looked >= _LOOK_SECONDS:
                    looked = time.monotonic()
                    if self._should_leave(study, looked - since):
                        break
        except Exhausted:
            self._set_aside(study, "every feasible candidate was tried", _LATER_SECONDS)
        except TooManyFailures as error:
            self._set_aside(study, str(error), inf)
            self.give_up(study, str(error))
        except SearchError as error:
            if error.exit_code not in _OF_THE_STUDY:
                raise
            self._set_aside(study, str(error), _LATER_SECONDS)
        finally:
            worker.rest()
        if not worked:
            soon = time.monotonic() + _SOON_SECONDS
            self._aside[study.id] = max(soon, self._aside.get(study.id, soon))
        return worked

    def _should_leave(self, study: StudyRow, seconds: float) -> bool:
        """Whether, after so long on a study, it is another one's turn."""
        claimable = self._claimable()
        mine = next((one for one in claimable if one.study.id == study.id), None)
        if mine is None:
            return True
        others = [one for one in claimable if one.study.priority >= mine.study.priority]
        others.remove(mine)
        if not others:
            return False
        crowd = self.crowd()
        others = [one for one in others if _room(one, crowd)]
        if any(one.study.priority > mine.study.priority for one in others):
            return True
        if seconds < self.quantum or not others:
            return False
        with_me = crowd.serving[study.name] + 1
        fewest = min(crowd.serving[one.study.name] for one in others)
        if fewest and fewest + 2 > with_me:
            return False
        # All that are with me may see the same at this moment, and half the difference shall go.
        return self.chance() < max(1, (with_me - fewest) // 2) / with_me

    def _set_aside(self, study: StudyRow, reason: str, seconds: float) -> None:
        self._aside[study.id] = time.monotonic() + seconds
        if self._said.get(study.id) != reason:
            self._said[study.id] = reason
            self.say(f"study {study.name} is set aside here: {reason}")


def _share(claimable: Sequence[Standing], crowd: Crowd) -> StudyRow | None:
    """The study for this worker, once those before it that look for one have theirs.

    None where that leaves no slot.
    """
    while wanting := [one for one in claimable if _room(one, crowd)]:
        first = min(wanting, key=lambda one: _turn(one, crowd)).study
        if not crowd.before:
            return first
        crowd = crowd.with_one_more(first.name)
    return None


def _room(standing: Standing, crowd: Crowd) -> bool:
    """Whether slots are left over for one more worker than those on their way there."""
    return standing.claimable > crowd.starting[standing.study.name]


def _turn(standing: Standing, crowd: Crowd) -> tuple[int, int, float, int]:
    """What the studies are put in order by: the first one's turn it is."""
    study = standing.study
    claimed = -inf if standing.last_claim is None else standing.last_claim
    return -study.priority, crowd.serving[study.name], claimed, study.id


def serve_pool(
    database: Database, terms: Terms, console: Console, *, idle: float | None = None
) -> None:
    """Serve every open study of a database that runs here.

    Args:
        database: Where the studies are.
        terms: How to work.
        console: Where each trial is told.
        idle: Seconds without work after which the worker ends; None for never.

    Raises:
        Drained: A signal asked to stop.
        SchemaMismatch: The tables were upgraded to another release's.
        StorageUnreachable: The database stayed away.
    """

    def look() -> list[Standing]:
        database.read(lambda connection: schema_version.check(connection, database.url))
        return open_studies(database, lease_seconds=terms.lease)

    def give_up(row: StudyRow, reason: str) -> None:
        entry = events.Entry(kind="failed", worker=worker_name(), detail={"error": reason})
        database.write(lambda connection: events.append(connection, row.id, entry))

    with at_post(database, terms, console) as post:
        Pool(
            look=look,
            crowd=lambda: Crowd.of(list_workers(database), worker_name()),
            worker=lambda row: worker_for(row, post),
            stop=post.stop,
            wait=lambda: post.announcer.tell("waiting"),
            say=post.say,
            give_up=give_up,
            idle=idle,
        ).run()
