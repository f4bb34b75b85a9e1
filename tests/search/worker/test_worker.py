"""A worker on one study: during a pause its device is free, and it ends when that is right."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.command import format_command
from widthwise.search.errors import Drained, TooManyFailures
from widthwise.search.trial.outcome import SlotOutcome, Unsettled
from widthwise.search.trial.watch import BatchWatch
from widthwise.search.worker.shutdown import StopRequest
from widthwise.search.worker.supervisor import MAX_CONSECUTIVE_FAILURES, TrialSupervisor
from widthwise.search.worker.worker import Worker
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.errors import StorageGone
from widthwise.storage.ledger.ledger import Ledger, Slot
from widthwise.storage.ledger.slot import StudyRow, StudyStatus, TrialOutcome
from widthwise.storage.projection.projection import Projection
from widthwise.storage.study.control import cancel_trial, pause_trial, set_status
from widthwise.storage.study.study import create_study
from widthwise.storage.study.workers import WorkerActivity
from widthwise.tests.one_slot import bind_one, settle_one
from widthwise.tests.search.bench import wait_until

LEASE = 0.6

Hook = Callable[[Sequence[Slot], BatchWatch], None]


@dataclass
class WorkerHarness:
    """A worker on a real ledger whose trainer only writes down what it is given.

    Attributes:
        on_run: Called with the numbers of a batch before it is recorded, the first time only.
        actions: What was done, in order: ("run", numbers), ("release",) and ("activity", activity).
    """

    database: Database
    study: StudyRow
    on_run: Hook | None = None
    actions: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: list[SlotOutcome] = field(default_factory=list)
    stop: StopRequest = field(default_factory=StopRequest)

    claim_size = 2
    device_class = device = "cpu: 24 GiB"

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.database, self.study, worker="me", lease_seconds=LEASE)
        self.supervisor = TrialSupervisor(
            ledger=self.ledger,
            projection=Projection(self.database, self.study),
            trainer=self,
            lease_seconds=LEASE,
            stop=self.stop,
            observer=self,
        )
        self.worker = Worker(supervisor=self.supervisor)

    def activity_changed(self, activity: WorkerActivity) -> None:
        self.actions.append(("activity", activity))

    def slot_ended(self, outcome: SlotOutcome) -> None:
        self.outcomes.append(outcome)

    def release_device(self) -> None:
        self.actions.append(("release",))

    def start(self) -> None:
        self.actions.append(("start",))

    def run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        self.actions.append(("run", [slot.number for slot in slots]))
        hook, self.on_run = self.on_run, None
        if hook is not None:
            hook(slots, watch)
        outcomes = []
        for slot in slots:
            if slot.number in watch.lost():
                outcomes.append(SlotOutcome(number=slot.number, kind=Unsettled.LOST))
                continue
            if slot.widths is None:
                slot = bind_one(self.ledger, slot, {"a": slot.number + 1}, "test")
            settle_one(self.ledger, slot, outcome="complete", value=1.0, result={})
            outcomes.append(SlotOutcome(number=slot.number, kind=TrialOutcome.COMPLETE, value=1.0))
        return outcomes

    def set_study_status(self, status: StudyStatus) -> None:
        set_status(self.database, self.study, status, worker="somebody")

    def drain_at_status(self, status: StudyStatus) -> Hook:
        """A training that stops once the heartbeat has told it that the study is not open."""

        def set_and_drain(slots: Sequence[Slot], watch: BatchWatch) -> None:
            del slots
            self.set_study_status(status)
            wait_until(watch.stop_requested)
            raise Drained("stopped in the middle")

        return set_and_drain

    def batches(self) -> list[list[int]]:
        return [action[1] for action in self.actions if action[0] == "run"]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[WorkerHarness]:
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
        yield WorkerHarness(database, study)


@contextmanager
def when_idle(harness: WorkerHarness, work: Callable[[], None]) -> Iterator[None]:
    """Do something, in another thread, as soon as the worker has freed its device."""

    def wait() -> None:
        wait_until(lambda: ("release",) in harness.actions)
        work()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join()


def test_a_study_is_worked_on_until_its_budget_is_spent(harness: WorkerHarness) -> None:
    assert harness.worker.run() == "open"
    assert harness.batches() == [[0, 1], [2, 3]]
    assert [outcome.kind for outcome in harness.outcomes] == ["complete"] * 4
    assert ("release",) not in harness.actions


def test_a_pause_stops_the_training_frees_the_device_and_charges_nothing(
    harness: WorkerHarness,
) -> None:
    harness.on_run = harness.drain_at_status("paused")
    with when_idle(harness, lambda: harness.set_study_status("open")):
        assert harness.worker.run() == "open"
    assert harness.batches() == [[0, 1], [0, 1], [2, 3]]
    assert {(record.attempts, record.failures) for record in harness.ledger.reader.records()} == {
        (1, 0)
    }
    # What is announced: it waits while its device is free, and starts anew before it trains.
    activities = [what[1] for what in harness.actions if what[0] == "activity"]
    assert activities[:5] == ["starting", "training", "waiting", "waiting", "starting"]


def test_a_worker_on_a_paused_study_loads_nothing_until_it_goes_on(harness: WorkerHarness) -> None:
    harness.set_study_status("paused")
    with when_idle(harness, lambda: harness.set_study_status("open")):
        assert harness.worker.run() == "open"
    assert harness.actions.index(("release",)) < harness.actions.index(("start",))
    assert harness.batches() == [[0, 1], [2, 3]]


def test_a_stop_is_heard_during_a_pause(harness: WorkerHarness) -> None:
    harness.set_study_status("paused")
    with when_idle(harness, harness.stop.request), pytest.raises(Drained):
        harness.worker.run()
    assert harness.batches() == []


def test_a_cancelled_study_is_left_with_what_was_done_kept(harness: WorkerHarness) -> None:
    harness.on_run = harness.drain_at_status("cancelled")
    assert harness.worker.run() == "cancelled"
    assert harness.batches() == [[0, 1]]
    counts = harness.ledger.reader.counts()
    assert (counts.waiting, counts.running) == (4, 0)


def test_a_study_that_is_cancelled_already_is_not_begun(harness: WorkerHarness) -> None:
    harness.set_study_status("cancelled")
    assert harness.worker.run() == "cancelled"
    assert ("start",) not in harness.actions


def test_a_study_that_is_paused_when_all_is_done_keeps_nobody(harness: WorkerHarness) -> None:
    harness.worker.run()
    harness.set_study_status("paused")
    assert WorkerHarness(harness.database, harness.study).worker.run() == "open"


def test_trials_taken_from_their_holder_are_lost_to_it_and_no_other(harness: WorkerHarness) -> None:
    def take(slots: Sequence[Slot], watch: BatchWatch) -> None:
        del slots
        pause_trial(harness.database, harness.study, 1, worker="somebody")
        wait_until(lambda: watch.lost() == {1})
        cancel_trial(harness.database, harness.study, 1, worker="somebody")

    harness.on_run = take
    assert harness.worker.run() == "open"
    assert [(outcome.number, outcome.kind) for outcome in harness.outcomes] == [
        (0, "complete"),
        (1, "lost"),
        (2, "complete"),
        (3, "complete"),
    ]
    counts = harness.ledger.reader.counts()
    assert (counts.complete, counts.pruned, counts.budget) == (3, 1, 4)


def test_failures_in_a_row_are_counted_over_batches(harness: WorkerHarness) -> None:
    def fail(slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        del watch
        harness.ledger.release_many(slots)
        number = slots[0].number
        return [SlotOutcome(number=number, kind=Unsettled.RETRY, detail="the moon is full")]

    harness.run_batch = fail  # type: ignore[method-assign]
    for _ in range(MAX_CONSECUTIVE_FAILURES - 1):
        assert harness.supervisor.run_batch()
    with pytest.raises(TooManyFailures, match="the moon is full") as caught:
        harness.supervisor.run_batch()
    # As it stands it can be pasted into a shell.
    assert f"`{format_command('resume', harness.study.name)}`" in str(caught.value)


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_database_file_that_is_gone_ends_the_training_at_the_next_heartbeat(
    harness: WorkerHarness, replaced: bool
) -> None:
    """Nobody could record its result."""
    stopped_by: list[BaseException] = []

    def lose_the_file(slots: Sequence[Slot], watch: BatchWatch) -> None:
        path = Path(str(harness.database.url.database))
        copy = path.read_bytes()
        path.unlink()
        if replaced:
            path.write_bytes(copy)
        try:
            wait_until(watch.stop_requested)
        except StorageGone as error:
            stopped_by.append(error)
            raise

    harness.on_run = lose_the_file
    with pytest.raises(StorageGone, match="was replaced" if replaced else "was deleted") as caught:
        harness.worker.run()
    assert stopped_by == [caught.value]
    assert harness.batches() == [[0, 1]], "nothing else was begun"
