"""The loop that all fleets share: it ticks until the last worker has ended, and asks them to."""

from __future__ import annotations

from dataclasses import dataclass, field
from signal import SIGTERM, Signals

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.fleet.worker_fleet import Launcher, WorkerFleet
from widthwise.search.fleet.worker_process import WorkerExit

DRAINED = WorkerExit(exit_code=75, message="")
DONE = WorkerExit(exit_code=0, message="")


@dataclass
class FakeFleet(WorkerFleet):
    """Two workers that end when they are told to."""

    ended: list[WorkerExit] = field(default_factory=list)
    signals: list[Signals] = field(default_factory=list)

    def size(self) -> int:
        return 2

    def exits(self) -> list[WorkerExit]:
        return list(self.ended)

    def signal(self, signum: Signals) -> None:
        self.signals.append(signum)
        self.ended += [DRAINED] * self.running()

    def close(self) -> None:
        raise AssertionError("whoever started the fleet closes it")


def test_a_fleet_is_watched_until_its_last_worker_has_ended() -> None:
    fleet = FakeFleet()
    running: list[int] = []

    def tick() -> None:
        running.append(fleet.running())
        if fleet.running():
            fleet.ended.append(DONE)

    assert fleet.watch(tick) == [DONE, DONE]
    assert running == [2, 1, 0], "once more after the end, for what was done last"


def test_a_drain_asks_each_worker_and_waits_for_it() -> None:
    fleet = FakeFleet()
    fleet.drain()
    assert fleet.signals == [SIGTERM]
    assert fleet.running() == 0


def test_waiting_for_workers_has_an_end() -> None:
    fleet = FakeFleet()
    fleet.wait_for_exits(0.0)
    assert fleet.running() == 2


def test_a_fleet_that_has_ended_is_not_waited_for() -> None:
    fleet = FakeFleet(ended=[DONE, DONE])
    fleet.wait_for_exits(1e9)


@pytest.mark.parametrize("launcher", [Launcher.LOCAL, Launcher.RAY])
def test_a_launcher_is_known_by_its_name(launcher: Launcher) -> None:
    assert Launcher.parse(launcher.value) is launcher


@pytest.mark.parametrize("text", ["moon", Launcher.FORK.value, Launcher.IN_PROCESS.value])
def test_an_unknown_launcher_is_refused_with_those_that_are_known(text: str) -> None:
    with pytest.raises(SpecError, match=f'^--on: found "{text}", expected local or ray$'):
        Launcher.parse(text)
