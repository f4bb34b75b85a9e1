"""A fake world for a worker of the pool: studies, and a clock of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from widthwise.search.errors import Drained, FingerprintMismatch
from widthwise.search.worker.messages import Raised, TrainerFailed
from widthwise.search.worker.pool import StudyScheduler, WorkerCounts
from widthwise.search.worker.shutdown import StopRequest
from widthwise.storage.ledger.slot import StudyRow
from widthwise.storage.study.open_studies import OpenStudy


@dataclass
class FakeClock:
    """A clock that is set by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeStudy:
    """A study of the fake world.

    Attributes:
        slots: Free ones.
        seconds: Of a batch.
        priority: Greater first.
        fails: What a step raises; None for a study that runs.
        open: Whether it is in the list of open ones.
        other_workers: Other workers on it.
        claimed: When a slot of it was last claimed.
    """

    name: str
    slots: int
    seconds: float = 1.0
    priority: int = 0
    fails: Callable[[], Exception] | None = None
    open: bool = True
    other_workers: int = 0
    claimed: float | None = None


class FakeStopRequest(StopRequest):
    """A request whose waiting advances the fake clock."""

    def __init__(self, clock: FakeClock, latest: float) -> None:
        super().__init__()
        self.clock, self.latest = clock, latest

    def __call__(self) -> bool:
        return self.clock.now >= self.latest

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds


@dataclass
class FakeWorld:
    """Studies, a clock, and what a worker of the pool did.

    Attributes:
        at: What happens once the clock has come so far.
        visits: Names of the studies served, a new entry for each visit.
        served: The study of each batch.
        freed_devices: How often the device was freed.
    """

    studies: list[FakeStudy]
    clock: FakeClock = field(default_factory=FakeClock)
    at: dict[float, Callable[[], None]] = field(default_factory=dict)
    visits: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    freed_devices: int = 0

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        for moment in sorted(self.at):
            if moment <= self.clock.now:
                self.at.pop(moment)()

    def list_open(self) -> list[OpenStudy]:
        self.pass_time(0.0)
        return [
            OpenStudy(
                study=row(index, study), claimable=study.slots, running=0, last_claim=study.claimed
            )
            for index, study in enumerate(self.studies)
            if study.open
        ]

    def worker_counts(self) -> WorkerCounts:
        return WorkerCounts(
            serving=Counter({study.name: study.other_workers for study in self.studies}),
            starting=Counter(),
        )

    def supervisor(self, study: StudyRow) -> Any:
        return FakeSupervisor(self, self.studies[study.id])

    def run(self, *, until: float = 1000.0, **options: Any) -> None:
        StudyScheduler(
            list_open=self.list_open,
            count_workers=self.worker_counts,
            make_supervisor=self.supervisor,
            stop=FakeStopRequest(self.clock, until),
            on_idle=lambda: None,
            log=self.logged.append,
            record_failure=lambda study, reason: self.given_up.append(f"{study.name}: {reason}"),
            clock=self.clock,
            **{"idle_seconds": 3.0, "draw_uniform": lambda: 0.0, **options},
        ).run()


@dataclass
class FakeSupervisor:
    """Runs batches of one study, and is its own trainer."""

    world: FakeWorld
    study: FakeStudy

    @property
    def trainer(self) -> FakeSupervisor:
        return self

    def prepare(self) -> None:
        self.world.visits.append(self.study.name)

    def run_batch(self) -> bool:
        if self.study.fails is not None:
            self.world.pass_time(1.0)
            raise self.study.fails()
        if not self.study.slots:
            return False
        self.study.slots -= 1
        self.study.claimed = self.world.clock.now
        self.world.served.append(self.study.name)
        self.world.pass_time(self.study.seconds)
        return True

    def release_device(self) -> None:
        self.world.freed_devices += 1


def row(index: int, study: FakeStudy) -> StudyRow:
    return StudyRow(
        id=index,
        name=study.name,
        spec="{}",
        fingerprint="f",
        optuna_study_id=index,
        direction="maximize",
        base=".",
        created_at=0.0,
        priority=study.priority,
    )


def make_mismatch() -> Exception:
    return TrainerFailed(Raised.from_error(FingerprintMismatch("other code")))


def run_until_drained(world: FakeWorld, until: float, **options: Any) -> None:
    with pytest.raises(Drained):
        world.run(until=until, idle_seconds=None, **options)
