"""A worker on one study: it sits out a pause with its device freed, and ends when that is right."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.errors import Drained, TooManyFailures
from widthwise.search.trial.outcome import Outcome
from widthwise.search.worker.shutdown import StopRequest
from widthwise.search.worker.supervisor import Holder
from widthwise.search.worker.worker import MAX_FAILURES_IN_A_ROW, Worker
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger, Slot
from widthwise.storage.ledger.slot import Status, StudyRow
from widthwise.storage.projection.projection import Projection
from widthwise.storage.study.control import cancel_trial, pause_trial, set_status
from widthwise.storage.study.study import create_study
from widthwise.tests.one_slot import bind_one

LEASE = 0.6


@dataclass
class Desk:
    """A worker on a real ledger whose trainer only writes down what it is given.

    Attributes:
        on_run: Called with the numbers of a batch before it is recorded, the first time only.
        did: What was done, in order: ("run", numbers), ("rest",) and ("tell", activity).
    """

    database: Database
    study: StudyRow
    on_run: Callable[[Sequence[Slot]], None] | None = None
    did: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    stop: StopRequest = field(default_factory=StopRequest)

    most = 2
    device = "cpu: 24 GiB"

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.database, self.study, worker="me", lease_seconds=LEASE)
        self.holder = Holder(
            ledger=self.ledger,
            projection=Projection(self.database, self.study),
            trainer=self,
            lease_seconds=LEASE,
        )
        self.worker = Worker(
            holder=self.holder,
            ledger=self.ledger,
            stop=self.stop,
            report=self.outcomes.append,
            rest=lambda: self.did.append(("rest",)),
            tell=lambda activity: self.did.append(("tell", activity)),
        )

    def start(self) -> None:
        self.did.append(("start",))

    def run(self, slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        self.did.append(("run", [slot.number for slot in slots]))
        happening, self.on_run = self.on_run, None
        if happening is not None:
            happening(slots)
        found = []
        for slot in slots:
            if slot.number in lost():
                found.append(Outcome(number=slot.number, kind="lost"))
                continue
            if slot.widths is None:
                slot = bind_one(self.ledger, slot, {"a": slot.number + 1}, "test")
            self.ledger.done(slot, outcome="complete", value=1.0, result={})
            found.append(Outcome(number=slot.number, kind="complete", value=1.0))
        return found

    def become(self, status: Status) -> None:
        set_status(self.database, self.study, status, worker="somebody")

    def interrupted_by(self, status: Status) -> Callable[[Sequence[Slot]], None]:
        """A training that stops once the heartbeat has told it that the study is not open."""

        def happen(slots: Sequence[Slot]) -> None:
            self.become(status)
            until(lambda: self.holder.wanted == status)
            raise Drained("stopped in the middle")

        return happen

    def runs(self) -> list[list[int]]:
        return [what[1] for what in self.did if what[0] == "run"]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    url = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    with Database.open(url, create=True) as database:
        study, _ = create_study(
            database,
            name="s",
            spec="{}",
            fingerprint="f",
            direction="maximize",
            metric="m",
            base=".",
            budget=4,
        )
        yield Desk(database, study)


@contextmanager
def once_it_rests(desk: Desk, work: Callable[[], None]) -> Iterator[None]:
    """Do something, in another thread, as soon as the worker has freed its device."""

    def wait() -> None:
        until(lambda: ("rest",) in desk.did)
        work()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join()


def test_a_study_is_worked_on_until_its_budget_is_spent(desk: Desk) -> None:
    assert desk.worker.run() == "open"
    assert desk.runs() == [[0, 1], [2, 3]]
    assert [one.kind for one in desk.outcomes] == ["complete"] * 4
    assert ("rest",) not in desk.did


def test_a_pause_stops_the_training_frees_the_device_and_charges_nothing(desk: Desk) -> None:
    desk.on_run = desk.interrupted_by("paused")
    with once_it_rests(desk, lambda: desk.become("open")):
        assert desk.worker.run() == "open"
    assert desk.runs() == [[0, 1], [0, 1], [2, 3]]
    assert {(one.attempts, one.failures) for one in desk.ledger.records()} == {(1, 0)}
    # Said to whoever watches: it waits while it rests, and starts anew before it trains.
    told = [what[1] for what in desk.did if what[0] == "tell"]
    assert told[:4] == ["starting", "waiting", "waiting", "starting"]


def test_a_worker_on_a_paused_study_loads_nothing_until_it_goes_on(desk: Desk) -> None:
    desk.become("paused")
    with once_it_rests(desk, lambda: desk.become("open")):
        assert desk.worker.run() == "open"
    assert desk.did.index(("rest",)) < desk.did.index(("start",))
    assert desk.runs() == [[0, 1], [2, 3]]


def test_a_stop_is_heard_during_a_pause(desk: Desk) -> None:
    desk.become("paused")
    with once_it_rests(desk, desk.stop.request), pytest.raises(Drained):
        desk.worker.run()
    assert desk.runs() == []


def test_a_cancelled_study_is_left_with_what_was_done_kept(desk: Desk) -> None:
    desk.on_run = desk.interrupted_by("cancelled")
    assert desk.worker.run() == "cancelled"
    assert desk.runs() == [[0, 1]]
    counts = desk.ledger.counts()
    assert (counts.waiting, counts.running) == (4, 0)


def test_a_study_that_is_cancelled_already_is_not_begun(desk: Desk) -> None:
    desk.become("cancelled")
    assert desk.worker.run() == "cancelled"
    assert ("start",) not in desk.did


def test_a_study_that_is_paused_when_all_is_done_keeps_nobody(desk: Desk) -> None:
    desk.worker.run()
    desk.become("paused")
    assert Desk(desk.database, desk.study).worker.run() == "open"


def test_trials_taken_from_their_holder_are_lost_to_it_and_no_other(desk: Desk) -> None:
    def take(slots: Sequence[Slot]) -> None:
        pause_trial(desk.database, desk.study, 1, worker="somebody")
        until(lambda: desk.holder._heartbeat is not None and desk.holder._heartbeat.lost == {1})
        cancel_trial(desk.database, desk.study, 1, worker="somebody")

    desk.on_run = take
    assert desk.worker.run() == "open"
    assert [(one.number, one.kind) for one in desk.outcomes] == [
        (0, "complete"),
        (1, "lost"),
        (2, "complete"),
        (3, "complete"),
    ]
    counts = desk.ledger.counts()
    assert (counts.complete, counts.pruned, counts.budget) == (3, 1, 4)


def test_failures_in_a_row_are_counted_over_the_steps(desk: Desk) -> None:
    def fail(slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        desk.ledger.release_many(slots)
        return [Outcome(number=slots[0].number, kind="retry", detail="the moon is full")]

    desk.run = fail  # type: ignore[method-assign]
    for _ in range(MAX_FAILURES_IN_A_ROW - 1):
        assert desk.worker.step()
    with pytest.raises(TooManyFailures, match="the moon is full"):
        desk.worker.step()
