"""The holder outlives its trainer: what a dead one leaves behind is settled, and fairly charged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.errors import ChildDied, TooManyFailures
from widthwise.search.trial.outcome import Outcome
from widthwise.search.trial.runner import Runner
from widthwise.search.worker.supervisor import Holder
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Slot
from widthwise.tests.search.bench import Bench, make_bench

Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    url = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    with Database.open(url, create=True) as database:
        yield lambda **how: make_bench(tmp_path, database, **how)


@dataclass
class Mortal:
    """A trainer that dies: before its work, or after all of it was recorded."""

    runner: Runner
    deaths: int = 1
    after_recording: bool = False
    out_of_memory: bool = False
    sizes: list[int] = field(default_factory=list)

    @property
    def most(self) -> int:
        return self.runner.most

    @property
    def device(self) -> str:
        return "cpu: 24 GiB"

    def start(self) -> None:
        """It is there again."""

    def run(self, slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        self.sizes.append(len(slots))
        dying = self.deaths > 0
        self.deaths -= dying
        if dying and not self.after_recording:
            raise ChildDied("its process was killed", out_of_memory=self.out_of_memory)
        outcomes = self.runner.run(slots, lost)
        if dying:
            raise ChildDied("its process was killed", out_of_memory=self.out_of_memory)
        return outcomes


def holder_of(study: Bench, **how: Any) -> tuple[Holder, Mortal]:
    mortal = Mortal(study.runner(), **how)
    ledger, projection = study.ledger(), study.projection
    return Holder(ledger=ledger, projection=projection, trainer=mortal, lease_seconds=60.0), mortal


def test_what_was_recorded_before_the_death_stands_and_is_not_charged(bench: Make) -> None:
    study = bench(trials=1, at_once=1)
    holder, _ = holder_of(study, after_recording=True)
    assert holder.step() == []
    (record,) = study.records()
    assert (record.outcome, record.failures, record.attempts) == ("complete", 0, 1)


def test_a_lone_trial_that_kills_its_trainer_three_times_is_given_up(bench: Make) -> None:
    study = bench(trials=1, at_once=1)
    holder, _ = holder_of(study, deaths=3)
    kinds = [one.kind for _ in range(3) for one in holder.step()]
    assert kinds == ["retry", "retry", "error"]
    (record,) = study.records()
    assert (record.outcome, record.failures) == ("error", 3)


def test_a_batch_is_given_back_uncharged_and_then_tried_one_by_one(bench: Make) -> None:
    study = bench(trials=5, at_once=3)
    holder, mortal = holder_of(study)
    assert [one.kind for one in holder.step()] == ["returned"] * 3
    assert {(one.state, one.attempts, one.failures) for one in study.records()} == {("free", 0, 0)}
    for _ in range(5):
        holder.step()
    # The very last one waits for what the others teach.
    assert mortal.sizes == [3, 1, 1, 1, 2, 1]
    assert [one.outcome for one in study.records()] == ["complete"] * 5


def test_a_trainer_killed_for_memory_is_a_result(bench: Make) -> None:
    study = bench(trials=1, at_once=1)
    holder, _ = holder_of(study, out_of_memory=True)
    assert [one.kind for one in holder.step()] == ["out_of_memory"]
    (record,) = study.records()
    assert (record.outcome, record.failures) == ("out_of_memory", 0)
    # Others on such a device leave this size alone.
    assert record.result is not None
    assert record.result["device_class"] == "cpu: 24 GiB"


def test_a_model_that_cannot_even_be_loaded_claims_nothing(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = bench(trials=1, at_once=1)
    holder, _ = holder_of(study)

    def die(_: Mortal) -> None:
        raise ChildDied("its process was killed by SIGKILL", out_of_memory=False)

    monkeypatch.setattr(Mortal, "start", die)
    with pytest.raises(TooManyFailures, match="could not be loaded: its process was killed"):
        holder.step()
    assert [one.attempts for one in study.records()] == [0]
