"""A crew's member: the worker as it is, but its training is a nap.

Claims, heartbeats, settling and the loop around them are those of `widthwise worker`; what trains
is here instead of in a child, so that hundreds of workers can be killed in a minute.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.distributions import IntDistribution
from widthwise.search.trial.outcome import Outcome
from widthwise.search.worker.shutdown import StopRequest
from widthwise.search.worker.supervisor import Holder
from widthwise.search.worker.worker import Worker
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger, Settlement, Slot
from widthwise.storage.projection.projection import Opening, Projection
from widthwise.storage.study.study import load_study

from .board import Activity, Board
from .fuses import Lit

WIDTHS = {"a": IntDistribution(1, 64), "b": IntDistribution(1, 64)}


EPOCHS, UNITS = 4, 64
"""Of a nap; what it finds is summed up in whole units, so that an epoch too many or few shows."""


def value_of(widths: Mapping[str, int]) -> float:
    """What a nap finds: a number that follows from the widths alone."""
    return widths["a"] + widths["b"] / UNITS


def save(folder: Path, identity: Mapping[str, Any], epoch: int, found: int) -> None:
    """Write a checkpoint of a nap, as trainings do."""
    import torch
    from widthwise.objectives.training import checkpoint_file
    from widthwise.objectives.training.snapshot import Snapshot

    snapshot = Snapshot(epochs=epoch, tensors={"found": torch.tensor(found)}, facts={})
    checkpoint_file.write(folder, snapshot, identity)


def load(folder: Path, identity: Mapping[str, Any]) -> tuple[int, int]:
    """The epochs that a nap has behind it, and what it found so far."""
    from widthwise.objectives.training import checkpoint_file

    snapshot = checkpoint_file.read(folder, identity)
    return (0, 0) if snapshot is None else (int(snapshot.epochs), int(snapshot.tensors["found"]))


@dataclass(frozen=True, kw_only=True)
class Crew:
    """What the members of a crew have in common.

    Attributes:
        url: Of the storage.
        study: Its name.
        lease: Seconds.
        nap: Seconds that a training takes in the mean.
        checkpoints: Folder of the trainings' checkpoints; None without any.
        witness: File that a member appends to what it was told is recorded.
        board: Says when a slot may be claimed, and is told who holds one.
    """

    url: str
    study: str
    lease: float
    nap: float
    checkpoints: Path | None
    witness: Path
    board: Board


@dataclass(kw_only=True)
class Napper:
    """A trainer in the worker's own process that naps."""

    crew: Crew
    seat: int
    ledger: Ledger
    projection: Projection
    most: int = field(default=1, init=False)

    def start(self) -> None:
        self.crew.board.enter(self.seat, Activity.WORKING)
        while not self.crew.board.may_claim(self.ledger.open_slots()):
            time.sleep(0.02)
        self.most = random.choice((1, 1, 2))

    def run(self, slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        del lost  # a nap is short: that a slot is lost is said when it is settled
        bound = [one for one in map(self.propose, slots) if one is not None]
        openings = [
            Opening(slot=slot, constraints={"flops": -1.0}, attributes={}) for slot in bound
        ]
        opened = self.projection.open_many(openings, distributions=WIDTHS)
        held = [slot for slot, trial in zip(bound, opened, strict=True) if trial is not None]
        self.crew.board.enter(self.seat, Activity.HOLDING)
        settlements = [self.train(slot) for slot in held]
        late = {slot.number for slot in self.ledger.done_many(settlements)}
        kept = [one for one in settlements if one.slot.number not in late]
        self.testify(kept)
        told = [Outcome(number=one.slot.number, kind="complete", value=one.value) for one in kept]
        gone = {slot.number for slot in slots} - {one.number for one in told}
        return told + [Outcome(number=number, kind="lost") for number in gone]

    def propose(self, slot: Slot) -> Slot | None:
        """Bind widths by chance to a slot that has none; None if the slot is lost."""
        while slot.widths is None:
            widths = {name: random.randint(1, 64) for name in WIDTHS}
            answer = self.ledger.bind_many([(slot, widths, "chance")])[0]
            if isinstance(answer, Slot):
                return answer
            if answer.name == "LOST":
                return None
        return slot

    def train(self, slot: Slot) -> Settlement:
        """Nap, some epochs long; with checkpoints each goes on from the one before."""
        assert slot.widths is not None
        folder, identity = self.crew.checkpoints, {"slot": slot.number, "widths": slot.widths}
        epoch = begun = found = 0
        if folder is not None:
            epoch, found = load(folder / str(slot.number), identity)
            begun = epoch
        gain = round(value_of(slot.widths) * UNITS)
        while epoch < EPOCHS:
            time.sleep(random.uniform(0.0, 2.0 * self.crew.nap / EPOCHS))
            epoch, found = epoch + 1, found + gain
            if folder is not None:
                save(folder / str(slot.number), identity, epoch, found)
        return Settlement(
            slot=slot,
            outcome="complete",
            value=found / (EPOCHS * UNITS),
            result={"curve": [0.0, 1.0], "attributes": {"token": slot.token, "begun": begun}},
        )

    def testify(self, kept: Sequence[Settlement]) -> None:
        """Append what is recorded to the witness: a line reaches it whole, whoever dies then."""
        lines = [f"{one.slot.number} {one.slot.token} {one.value}\n" for one in kept]
        descriptor = os.open(self.crew.witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with suppress(OSError):
            os.write(descriptor, "".join(lines).encode())
        os.close(descriptor)


def work(crew: Crew, seat: int, fuse: Lit | None = None) -> None:
    """Work on the crew's study until its budget is spent, as `widthwise worker` does."""
    with Database.open(resolve_url(crew.url)) as database:
        if fuse is not None:
            fuse.install(database.engine.dialect)
        study = load_study(database, crew.study)
        ledger = Ledger(database, study, worker=str(os.getpid()), lease_seconds=crew.lease)
        projection = Projection(database, study)
        holder = Holder(
            ledger=ledger,
            projection=projection,
            trainer=Napper(crew=crew, seat=seat, ledger=ledger, projection=projection),
            lease_seconds=crew.lease,
        )
        Worker(holder=holder, ledger=ledger, stop=StopRequest(), report=lambda _: None).run()
