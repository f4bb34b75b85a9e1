"""The hold on a trainer: its death is seen whatever it left behind, which ends with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from widthwise.search.errors import TrainerDied
from widthwise.search.trial.watch import Unwatched
from widthwise.search.worker.messages import TrainerConfig
from widthwise.search.worker.trainer_process import TrainerProcess
from widthwise.storage.database.database import resolve_url
from widthwise.storage.ledger.slot import Slot
from widthwise.tests.search.bench import wait_until
from widthwise.tests.search.worker import misbehaving_trainer

SLOT = Slot(number=7, token="t", attempt=1, widths=None, origin=None, trial_id=None)

StartTrainer = Callable[[Callable[[Path], None]], TrainerProcess]


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Where user code writes the id of the process that it started."""
    return tmp_path / "pid"


@pytest.fixture
def start_trainer(tmp_path: Path, witness: Path) -> Iterator[StartTrainer]:
    """Start a trainer whose user code does something."""
    started: list[TrainerProcess] = []

    def start(deed: Callable[[Path], None]) -> TrainerProcess:
        trainer = TrainerProcess(
            TrainerConfig(
                study=deed.__name__,
                worker="me",
                lease_seconds=30.0,
                threads=1,
                checkpoints=witness,
            ),
            resolve_url(f"sqlite:///{tmp_path / 'study.db'}"),
            grace_seconds=0.0,
            stop_requested=lambda: False,
            module=misbehaving_trainer.__name__,
        )
        started.append(trainer)
        trainer.start()
        return trainer

    yield start
    for trainer in started:
        trainer.release_device()


def is_running(witness: Path) -> bool:
    """Whether the process lives that user code started."""
    try:
        return psutil.Process(int(witness.read_text())).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("deed", "ending"),
    [
        (misbehaving_trainer.leave_in_background, "was killed by SIGKILL"),
        (misbehaving_trainer.leave_a_daemon, "ended with code 3"),
        (misbehaving_trainer.leave_a_fork, "was killed by SIGABRT"),
    ],
)
def test_a_death_is_seen_though_a_helper_holds_the_pipe_and_the_helper_ends(
    start_trainer: StartTrainer, witness: Path, deed: Callable[[Path], None], ending: str
) -> None:
    trainer = start_trainer(deed)
    with pytest.raises(TrainerDied, match=ending):
        trainer.run_batch([SLOT], Unwatched())
    assert not is_running(witness)


def test_a_helper_lives_as_long_as_its_trainer(start_trainer: StartTrainer, witness: Path) -> None:
    trainer = start_trainer(misbehaving_trainer.leave_and_go_on)
    [outcome] = trainer.run_batch([SLOT], Unwatched())
    assert outcome.number == SLOT.number
    assert is_running(witness)
    # It got none of the pipes, nor anything else that the trainer inherited.
    descriptors = Path(f"/proc/{int(witness.read_text())}/fd").iterdir()
    assert {int(descriptor.name) for descriptor in descriptors} == {0, 1, 2}
    trainer.release_device()
    assert not is_running(witness)


def test_one_that_closes_its_pipes_is_ended(
    start_trainer: StartTrainer,
) -> None:
    trainer = start_trainer(misbehaving_trainer.close_descriptors)
    with pytest.raises(TrainerDied, match="closed its connection to the worker"):
        trainer.run_batch([SLOT], Unwatched())


def test_one_that_writes_into_its_pipes_is_ended(start_trainer: StartTrainer) -> None:
    trainer = start_trainer(misbehaving_trainer.write_garbage)
    with pytest.raises(TrainerDied, match="something else than replies"):
        trainer.run_batch([SLOT], Unwatched())


def test_what_it_does_to_its_process_group_does_not_reach_the_worker(
    start_trainer: StartTrainer,
) -> None:
    trainer = start_trainer(misbehaving_trainer.stop_the_group)
    [outcome] = trainer.run_batch([SLOT], Unwatched())
    assert outcome.number == SLOT.number


def test_after_its_death_the_next_one_is_another_process(
    start_trainer: StartTrainer, witness: Path
) -> None:
    trainer = start_trainer(misbehaving_trainer.leave_in_background)
    for _ in range(2):
        witness.unlink(missing_ok=True)
        with pytest.raises(TrainerDied):
            trainer.run_batch([SLOT], Unwatched())
        wait_until(lambda: not is_running(witness))
        trainer.start()
