"""The supervisor outlives its trainer: what a dead one leaves is settled, and fairly charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from widthwise.search.errors import ExitCode, TooManyFailures, TrainerDied
from widthwise.search.trial.outcome import SlotOutcome
from widthwise.search.trial.runner import Runner
from widthwise.search.trial.watch import BatchWatch
from widthwise.search.worker.messages import Raised, TrainerFailed
from widthwise.search.worker.supervisor import TrialSupervisor
from widthwise.storage.errors import StorageUnreachable
from widthwise.storage.ledger.ledger import Slot, WidthBinding
from widthwise.tests.search.bench import HarnessFactory, StudyHarness


@dataclass
class DyingTrainer:
    """A trainer that dies: before its work, or after all of it was recorded."""

    runner: Runner
    deaths: int = 1
    after_recording: bool = False
    out_of_memory: bool = False
    sizes: list[int] = field(default_factory=list)

    @property
    def claim_size(self) -> int:
        return self.runner.claim_size

    @property
    def device_class(self) -> str:
        return "cpu: 24 GiB"

    device = device_class

    def start(self) -> None:
        """It is there again."""

    def release_device(self) -> None:
        """It has none."""

    def run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        self.sizes.append(len(slots))
        dying = self.deaths > 0
        self.deaths -= dying
        if dying and not self.after_recording:
            raise TrainerDied("its process was killed", out_of_memory=self.out_of_memory)
        outcomes = self.runner.run_batch(slots, watch)
        if dying:
            raise TrainerDied("its process was killed", out_of_memory=self.out_of_memory)
        return outcomes


def make_supervisor(study: StudyHarness, **options: Any) -> tuple[TrialSupervisor, DyingTrainer]:
    trainer = DyingTrainer(study.runner(), **options)
    ledger, projection = study.ledger(), study.projection
    return TrialSupervisor(
        ledger=ledger, projection=projection, trainer=trainer, lease_seconds=60.0
    ), trainer


def test_what_was_recorded_before_the_death_stands_and_is_not_charged(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=1, at_once=1)
    supervisor, _ = make_supervisor(study, after_recording=True)
    assert supervisor.run_batch() == []
    (record,) = study.records()
    assert (record.outcome, record.failures, record.attempts) == ("complete", 0, 1)


def test_a_lone_trial_that_kills_its_trainer_three_times_is_given_up(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=1, at_once=1)
    supervisor, _ = make_supervisor(study, deaths=3)
    kinds = [outcome.kind for _ in range(3) for outcome in supervisor.run_batch()]
    assert kinds == ["retry", "retry", "error"]
    (record,) = study.records()
    assert (record.outcome, record.failures) == ("error", 3)


def test_a_batch_is_given_back_uncharged_and_then_tried_one_by_one(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=5, at_once=3)
    supervisor, mortal = make_supervisor(study)
    assert [entry.kind for entry in supervisor.run_batch()] == ["returned"] * 3
    assert {(entry.state, entry.attempts, entry.failures) for entry in study.records()} == {
        ("free", 0, 0)
    }
    for _ in range(5):
        supervisor.run_batch()
    # The very last one waits for what the others teach.
    assert mortal.sizes == [3, 1, 1, 1, 2, 1]
    assert [entry.outcome for entry in study.records()] == ["complete"] * 5


def test_a_trainer_killed_for_memory_is_a_result(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=1, at_once=1)
    supervisor, _ = make_supervisor(study, out_of_memory=True)
    assert [outcome.kind for outcome in supervisor.run_batch()] == ["out_of_memory"]
    (record,) = study.records()
    assert (record.outcome, record.failures) == ("out_of_memory", 0)
    # Others on such a device leave this size alone.
    assert record.result is not None
    assert record.result["device_class"] == "cpu: 24 GiB"


def test_a_model_that_cannot_even_be_loaded_claims_nothing(
    new_harness: HarnessFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_harness(trials=1, at_once=1)
    supervisor, _ = make_supervisor(study)

    def die(_: DyingTrainer) -> None:
        raise TrainerDied("its process was killed by SIGKILL", out_of_memory=False)

    monkeypatch.setattr(DyingTrainer, "start", die)
    with pytest.raises(TooManyFailures, match="could not be loaded: its process was killed"):
        supervisor.run_batch()
    assert [record.attempts for record in study.records()] == [0]


OWN_ERROR = Raised.from_error(OSError(24, "Too many open files"))
NO_STORAGE = Raised.from_error(StorageUnreachable("unable to open database file"))


@pytest.mark.parametrize("raised", [OWN_ERROR, NO_STORAGE], ids=["our own code", "the storage"])
def test_a_trial_that_leaves_its_process_of_no_use_is_tried_three_times(
    new_harness: HarnessFactory, monkeypatch: pytest.MonkeyPatch, raised: Raised
) -> None:
    """User code may take every descriptor, or set what our own code stumbles over."""
    study = new_harness(trials=3, at_once=1)
    supervisor, trainer = make_supervisor(study, deaths=0)
    [spoiling] = study.ledger().claim_many(1)
    study.ledger().bind_many([WidthBinding(slot=spoiling, widths={"a": 7}, origin="sampler")])
    study.ledger().release_many([spoiling])
    run_batch = trainer.run_batch

    def spoil(slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        if slots[0].widths == {"a": 7}:
            raise TrainerFailed(raised)
        return run_batch(slots, watch)

    monkeypatch.setattr(trainer, "run_batch", spoil)
    outcomes = [outcome for _ in range(5) for outcome in supervisor.run_batch()]
    assert [outcome.kind for outcome in outcomes] == [
        *("retry", "retry", "error", "complete", "complete")
    ]
    assert "its process failed: " in (outcomes[2].detail or "")


def test_an_error_of_ours_before_any_widths_is_no_trials_fault(
    new_harness: HarnessFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_harness(trials=2, at_once=1)
    supervisor, trainer = make_supervisor(study, deaths=0)

    def fail(slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        raise TrainerFailed(OWN_ERROR)

    monkeypatch.setattr(trainer, "run_batch", fail)
    with pytest.raises(TrainerFailed, match="Too many open files") as caught:
        supervisor.run_batch()
    assert caught.value.exit_code == ExitCode.BUG
    assert {(record.state, record.failures) for record in study.records()} == {("free", 0)}
