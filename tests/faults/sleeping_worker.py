"""A worker of the swarm: the worker as it is, but its training only sleeps.

Claims, heartbeats, settling and the loop around them are those of `widthwise worker`; what trains
is here instead of in a trainer process, so that hundreds of workers can be killed in a minute.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.distributions import IntDistribution
from widthwise.search.trial.outcome import SlotOutcome, Unsettled
from widthwise.search.trial.watch import BatchWatch
from widthwise.search.worker.supervisor import TrialSupervisor
from widthwise.search.worker.worker import Worker
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger, Settlement, Slot, TrialOutcome, WidthBinding
from widthwise.storage.projection.projection import Projection, TrialStart
from widthwise.storage.study.study import load_study

from .board import Activity, StatusBoard
from .crash_points import CrashPoint

WIDTHS = {"a": IntDistribution(1, 64), "b": IntDistribution(1, 64)}


EPOCHS, UNITS_PER_EPOCH = 4, 64
"""Of a training; its value is summed up in whole units: an epoch too many or few shows."""


def value_from_widths(widths: Mapping[str, int]) -> float:
    """Return the value of a training: a number that follows from the widths alone."""
    return widths["a"] + widths["b"] / UNITS_PER_EPOCH


def write_checkpoint(folder: Path, identity: Mapping[str, Any], epoch: int, total: int) -> None:
    """Write a checkpoint, as real trainings do."""
    import torch
    from widthwise.objectives.training import checkpoint_file
    from widthwise.objectives.training.snapshot import Snapshot

    snapshot = Snapshot(epochs=epoch, tensors={"found": torch.tensor(total)}, metadata={})
    checkpoint_file.write(folder, snapshot, identity)


def read_checkpoint(folder: Path, identity: Mapping[str, Any]) -> tuple[int, int]:
    """Return the epochs that a training has behind it, and its sum so far."""
    from widthwise.objectives.training import checkpoint_file

    snapshot = checkpoint_file.read(folder, identity)
    return (0, 0) if snapshot is None else (int(snapshot.epochs), int(snapshot.tensors["found"]))


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What the workers of a swarm have in common.

    Attributes:
        url: Of the storage.
        study: Its name.
        lease_seconds: Seconds.
        mean_training_seconds: Seconds that a training takes in the mean.
        checkpoints: Folder of the trainings' checkpoints; None without any.
        acknowledgement_log: File that a worker appends to what the ledger acknowledged.
        status_board: Shows when a slot may be claimed, and who holds one.
    """

    url: str
    study: str
    lease_seconds: float
    mean_training_seconds: float
    checkpoints: Path | None
    acknowledgement_log: Path
    status_board: StatusBoard


@dataclass(kw_only=True)
class SleepingTrainer:
    """A trainer in the worker's own process that naps."""

    setup: WorkerSetup
    worker_index: int
    ledger: Ledger
    projection: Projection
    claim_size: int = field(default=1, init=False)
    device_class: str = field(default="none", init=False)

    def start(self) -> None:
        self.setup.status_board.set_activity(self.worker_index, Activity.WORKING)
        while not self.setup.status_board.may_claim(self.ledger.reader.open_slots()):
            time.sleep(0.02)
        self.claim_size = random.choice((1, 1, 2))

    def run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        del watch  # a training is short: that a slot is lost shows when it is settled
        bound_slots = [item for item in map(self.bind_random_widths, slots) if item is not None]
        starts = [
            TrialStart(slot=slot, constraints={"flops": -1.0}, attributes={})
            for slot in bound_slots
        ]
        trial_ids = self.projection.open_many(starts, distributions=WIDTHS)
        opened_slots = [
            slot for slot, trial in zip(bound_slots, trial_ids, strict=True) if trial is not None
        ]
        self.setup.status_board.set_activity(self.worker_index, Activity.HOLDING)
        settlements = [self.train(slot) for slot in opened_slots]
        lost_numbers = {slot.number for slot in self.ledger.settle_many(settlements)}
        recorded = [item for item in settlements if item.slot.number not in lost_numbers]
        self.log_acknowledged(recorded)
        outcomes = [
            SlotOutcome(number=item.slot.number, kind=TrialOutcome.COMPLETE, value=item.value)
            for item in recorded
        ]
        unrecorded = {slot.number for slot in slots} - {item.number for item in outcomes}
        return outcomes + [SlotOutcome(number=number, kind=Unsettled.LOST) for number in unrecorded]

    def release_device(self) -> None:
        """Do nothing: sleeping takes no device."""

    def bind_random_widths(self, slot: Slot) -> Slot | None:
        """Bind widths by chance to a slot that has none; None if the slot is lost."""
        while slot.widths is None:
            widths = {name: random.randint(1, 64) for name in WIDTHS}
            result = self.ledger.bind_many(
                [WidthBinding(slot=slot, widths=widths, origin="chance")]
            )[0]
            if isinstance(result, Slot):
                return result
            if result.name == "LOST":
                return None
        return slot

    def train(self, slot: Slot) -> Settlement:
        """Sleep for some epochs; with checkpoints, go on from the last one."""
        assert slot.widths is not None
        folder, identity = self.setup.checkpoints, {"slot": slot.number, "widths": slot.widths}
        epoch = resumed_epochs = total = 0
        if folder is not None:
            epoch, total = read_checkpoint(folder / str(slot.number), identity)
            resumed_epochs = epoch
        gain = round(value_from_widths(slot.widths) * UNITS_PER_EPOCH)
        while epoch < EPOCHS:
            time.sleep(random.uniform(0.0, 2.0 * self.setup.mean_training_seconds / EPOCHS))
            epoch, total = epoch + 1, total + gain
            if folder is not None:
                write_checkpoint(folder / str(slot.number), identity, epoch, total)
        return Settlement(
            slot=slot,
            outcome="complete",
            value=total / (EPOCHS * UNITS_PER_EPOCH),
            result={
                "curve": [0.0, 1.0],
                "attributes": {"token": slot.token, "begun": resumed_epochs},
            },
        )

    def log_acknowledged(self, recorded: Sequence[Settlement]) -> None:
        """Append what is recorded to the witness: a line reaches it whole, whoever dies then."""
        lines = [
            f"{settlement.slot.number} {settlement.slot.token} {settlement.value}\n"
            for settlement in recorded
        ]
        descriptor = os.open(self.setup.acknowledgement_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with suppress(OSError):
            os.write(descriptor, "".join(lines).encode())
        os.close(descriptor)


def run_worker(
    setup: WorkerSetup, worker_index: int, crash_point: CrashPoint | None = None
) -> None:
    """Work on the swarm's study until its budget is spent, as `widthwise worker` does."""
    with Database.open(resolve_url(setup.url)) as database:
        if crash_point is not None:
            crash_point.install(database.engine.dialect)
        study = load_study(database, setup.study)
        ledger = Ledger(database, study, worker=str(os.getpid()), lease_seconds=setup.lease_seconds)
        projection = Projection(database, study)
        supervisor = TrialSupervisor(
            ledger=ledger,
            projection=projection,
            trainer=SleepingTrainer(
                setup=setup, worker_index=worker_index, ledger=ledger, projection=projection
            ),
            lease_seconds=setup.lease_seconds,
        )
        Worker(supervisor=supervisor).run()
