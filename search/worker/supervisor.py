"""The holder: it claims slots, keeps their leases while they are trained, and settles what is left.

Who trains is another's matter: a child process (`child.Child`) whose death is the trial's and not
the holder's, or the runner in this process.

Entry point: `TrialSupervisor.run_batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ...storage.errors import LeaseLost, StorageError
from ...storage.ledger.ledger import Ledger, Settlement, Slot
from ...storage.ledger.slot import SlotState, StudyStatus, TrialOutcome
from ...storage.projection.projection import Projection
from ...storage.study.workers import WorkerActivity
from ..errors import SearchError, TooManyFailures, TrainerDied
from ..trial.outcome import Outcome
from .heartbeat import LeaseHeartbeat

# Claims of one slot after which its widths are held to kill their workers: a bound for a trial that
# takes its whole machine down each time, far above what random deaths of workers come to.
MAX_CLAIMS = 10


def ignore_activity(activity: WorkerActivity) -> None:
    """Told what a worker does where nobody asks."""
    del activity


class Trainer(Protocol):
    """Who trains slots."""

    @property
    def claim_size(self) -> int:
        """How many slots to claim for it now."""
        ...

    @property
    def device_class(self) -> str:
        """The class of the device that it trains on, once it was started."""
        ...

    def start(self) -> None:
        """Get ready."""
        ...

    def run(self, slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        """Take claimed slots all the way."""
        ...


@dataclass(kw_only=True)
class TrialSupervisor:
    """Holds the leases of the slots in training.

    Attributes:
        ledger: The budget; the authority on who runs what.
        projection: Optuna's view of it.
        trainer: Who trains.
        lease_seconds: How long a claim or a heartbeat holds a slot.
        on_activity: Told that it is training when slots were claimed, for whoever watches this worker.
    """

    ledger: Ledger
    projection: Projection
    trainer: Trainer
    lease_seconds: float
    on_activity: Callable[[WorkerActivity], None] = field(default=ignore_activity)
    _one_at_a_time: int = field(default=0, init=False)
    _heartbeat: LeaseHeartbeat | None = field(default=None, init=False)

    @property
    def last_status(self) -> StudyStatus:
        """What the study wants with the slots in training: open (go on), paused or cancelled."""
        return StudyStatus.OPEN if self._heartbeat is None else self._heartbeat.last_status

    def run_batch(self) -> list[Outcome]:
        """Run a batch of slots.

        Returns:
            How each ended; empty if no slot can be claimed now.

        Raises:
            Drained: The worker was asked to stop, or the study was paused or cancelled; the slots
                are free again, no attempt charged.
            Exhausted: Every feasible candidate was tried; the slots are free again.
        """
        try:
            self.trainer.start()
        except TrainerDied as crash:
            raise TooManyFailures(f"the model could not be loaded: {crash}") from None
        slots = self.ledger.claim_many(1 if self._one_at_a_time else self.trainer.claim_size)
        self._one_at_a_time = max(0, self._one_at_a_time - 1)
        outcomes = [
            self._settle_repeated_crashes(slot) for slot in slots if slot.attempt > MAX_CLAIMS
        ]
        slots = [slot for slot in slots if slot.attempt <= MAX_CLAIMS]
        if not slots:
            return outcomes
        self.on_activity(WorkerActivity.TRAINING)
        try:
            with LeaseHeartbeat(self.ledger, slots, self.lease_seconds) as heartbeat:
                self._heartbeat = heartbeat
                outcomes += self.trainer.run(slots, lambda: heartbeat.lost)
        except TrainerDied as crash:
            outcomes += self._settle_crash(slots, crash)
        except StorageError:
            # No database to give the slots back to: their leases will end by themselves.
            raise
        except (SearchError, KeyboardInterrupt):
            self.ledger.release_many(slots)
            raise
        finally:
            self._heartbeat = None
        self.projection.repair()
        return outcomes

    def _settle_crash(self, slots: Sequence[Slot], crash: TrainerDied) -> list[Outcome]:
        """Settle what a dead trainer left.

        Of several slots nobody knows which one killed it: all are given back, no attempt charged,
        and the next ones are claimed one by one. Nothing is charged for what it had recorded.
        """
        slots = [
            slot
            for slot in slots
            if self.ledger.reader.record(slot.number).state == SlotState.LEASED
        ]
        if not slots:
            return []
        if len(slots) > 1:
            self._one_at_a_time = len(slots)
            self.ledger.release_many(slots)
            return [
                Outcome(number=slot.number, kind="returned", detail=str(crash)) for slot in slots
            ]
        (slot,) = slots
        if crash.out_of_memory:
            details = {"detail": str(crash), "device_class": self.trainer.device_class}
            result = {**details, "attributes": details}
            settlement = Settlement(slot=slot, outcome=TrialOutcome.OUT_OF_MEMORY, result=result)
            lost = bool(self.ledger.settle_many([settlement]))
            kind = "lost" if lost else "out_of_memory"
        else:
            try:
                kind = "retry" if self.ledger.fail_attempt(slot, str(crash)) else "error"
            except LeaseLost:
                kind = "lost"
        detail = None if kind == "lost" else str(crash)
        return [Outcome(number=slot.number, kind=kind, detail=detail)]

    def _settle_repeated_crashes(self, slot: Slot) -> Outcome:
        reason = f"no worker survived its {MAX_CLAIMS} attempts at this trial"
        result = {"error": reason}
        self.ledger.settle_many([Settlement(slot=slot, outcome=TrialOutcome.ERROR, result=result)])
        return Outcome(number=slot.number, kind="error", detail=reason)
