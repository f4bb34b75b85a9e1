"""The supervisor: it claims slots, keeps their leases while they are trained, and settles the rest.

It loads no model. A trainer does (`trainer_process.TrainerProcess`): its death is the trial's, and
the supervisor outlives it.

Entry point: `TrialSupervisor.run_batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, final

from ...storage.errors import StorageError
from ...storage.ledger.ledger import Ledger, Slot
from ...storage.ledger.slot import SlotState
from ...storage.projection.projection import Projection
from ...storage.study.workers import WorkerActivity
from ..errors import Drained, ExitCode, SearchError, TooManyFailures, TrainerDied
from ..follow_up_kind import continue_command
from ..trial.outcome import SlotOutcome, Unsettled
from ..trial.record import (
    crashed_settlement,
    out_of_memory_settlement,
    record_failure,
    record_settlements,
)
from ..trial.watch import BatchWatch
from .heartbeat import LeaseHeartbeat
from .messages import ErrorKind, TrainerFailed
from .observer import SilentObserver, WorkerObserver
from .shutdown import StopRequest

# Claims of one slot after which its widths are held to kill their workers: a bound for a trial that
# takes its whole machine down each time, far above what random deaths of workers come to.
MAX_CLAIMS = 10
# Exceptions in a row, over trials, after which the fault is hardly the candidate's.
MAX_CONSECUTIVE_FAILURES = 6


class Trainer(Protocol):
    """What trains slots.

    Attributes:
        engine_note: A sentence for people on how it trains, once it was started; whoever shows it
            empties it.
    """

    engine_note: str

    @property
    def claim_size(self) -> int:
        """How many slots to claim for it now."""
        ...

    @property
    def device_class(self) -> str:
        """The class of the device that it trains on, once it was started."""
        ...

    @property
    def device(self) -> str:
        """The device for people: its class, and which one of that class it is."""
        ...

    def start(self) -> None:
        """Load the study; raises TrainerDied if that takes the process down."""
        ...

    def run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        """Take claimed slots all the way; return how they ended.

        Raises TrainerDied, Drained, Exhausted or another SearchError.
        """
        ...

    def release_device(self) -> None:
        """Free the device while there is nothing to train for long."""
        ...


@final
@dataclass(kw_only=True)
class TrialSupervisor:
    """Runs batches of one study's slots, and holds their leases meanwhile.

    Attributes:
        ledger: The budget; the authority on who runs what.
        projection: Optuna's view of it.
        trainer: What trains.
        lease_seconds: How long a claim or a heartbeat holds a slot.
        stop: Asked between trials and epochs.
        observer: Is notified of what this worker does.
    """

    ledger: Ledger
    projection: Projection
    trainer: Trainer
    lease_seconds: float
    stop: StopRequest = field(default_factory=StopRequest)
    observer: WorkerObserver = field(default_factory=SilentObserver)
    _one_at_a_time: int = field(default=0, init=False)
    _consecutive_failures: int = field(default=0, init=False)
    _failed_slots: set[int] = field(default_factory=set, init=False)

    def prepare(self) -> None:
        """Repair what dead workers left unprojected; before the first batch."""
        self.observer.activity_changed(WorkerActivity.STARTING)
        self.projection.repair()

    def run_batch(self) -> list[SlotOutcome]:
        """Run a batch of slots: claim, train (which suggests and records), settle what is left.

        Returns:
            How each ended; empty if no slot can be claimed now, or the study was paused or
            cancelled under way.

        Raises:
            Drained: This worker was asked to stop; the slots are free again, no attempt charged.
            Exhausted: Every feasible candidate was tried; the slots are free again.
            TooManyFailures: The model cannot be loaded, or training failed too often in a row.
        """
        try:
            self.trainer.start()
        except TrainerDied as crash:
            raise TooManyFailures(f"the model could not be loaded: {crash}") from None
        slots, outcomes = self._claim()
        if slots:
            self.observer.activity_changed(WorkerActivity.TRAINING)
            try:
                with LeaseHeartbeat(self.ledger, slots, self.lease_seconds, self.stop) as watch:
                    outcomes += self.trainer.run_batch(slots, watch)
            except TrainerDied as crash:
                outcomes += self._settle_crash(slots, crash)
            except StorageError:
                # No database to give the slots back to: their leases will end by themselves.
                raise
            except TrainerFailed as failure:
                if not self._is_process_at_fault(failure, slots):
                    self._give_back(slots)
                    raise
                self.trainer.release_device()
                outcomes += self._settle_crash(
                    slots, TrainerDied(f"its process failed: {failure}", out_of_memory=False)
                )
            except (SearchError, KeyboardInterrupt) as interruption:
                self._give_back(slots)
                if isinstance(interruption, Drained) and not self.stop():
                    return []
                raise
            self.projection.repair()
        for outcome in outcomes:
            self.observer.slot_ended(outcome)
        self._count_failures(outcomes)
        return outcomes

    def _claim(self) -> tuple[list[Slot], list[SlotOutcome]]:
        """Claim slots; return those to train, and the outcomes of those that kill their workers."""
        claimed = self.ledger.claim_many(1 if self._one_at_a_time else self.trainer.claim_size)
        self._one_at_a_time = max(0, self._one_at_a_time - 1)
        reason = f"no worker survived its {MAX_CLAIMS} attempts at this trial"
        crashed = [
            crashed_settlement(slot, reason) for slot in claimed if slot.attempt > MAX_CLAIMS
        ]
        outcomes = record_settlements(self.ledger, crashed)
        return [slot for slot in claimed if slot.attempt <= MAX_CLAIMS], outcomes

    def _give_back(self, slots: Sequence[Slot]) -> None:
        """Give back what a batch that was interrupted has not recorded."""
        self.ledger.release_many(slots)
        # Nobody may come after this worker to let its trials wait.
        with suppress(StorageError):
            self.projection.repair()

    def _is_process_at_fault(self, failure: TrainerFailed, slots: Sequence[Slot]) -> bool:
        """Return whether a trainer's error is the doing of its trials, which user code can be.

        It leaves no descriptor for a connection, or a library that our own code needs in pieces.
        Then another process is of use, or the trial is given up. What goes wrong while no slot has
        widths is no trial's fault.
        """
        if failure.kind is ErrorKind.ENVIRONMENT:
            if failure.exit_code != ExitCode.STORAGE:
                return False
        elif failure.kind is not ErrorKind.BUG:
            return False
        # Where the storage is away for us, too, this raises, which says so.
        records = self.ledger.reader.records_of([slot.number for slot in slots])
        return any(record.widths and record.state is SlotState.LEASED for record in records)

    def _settle_crash(self, slots: Sequence[Slot], crash: TrainerDied) -> list[SlotOutcome]:
        """Settle what a dead trainer left.

        Of several slots nobody knows which one killed it: all are given back, no attempt charged,
        and the next ones are claimed one by one. Nothing is charged for what it had recorded.
        """
        reader, reason = self.ledger.reader, str(crash)
        records = reader.records_of([slot.number for slot in slots])
        still_leased = {record.number for record in records if record.state is SlotState.LEASED}
        leased = [slot for slot in slots if slot.number in still_leased]
        if len(leased) > 1:
            self._one_at_a_time = len(leased)
            self.ledger.release_many(leased)
            return [
                SlotOutcome(number=slot.number, kind=Unsettled.RETURNED, detail=reason)
                for slot in leased
            ]
        if not leased:
            return []
        [slot] = leased
        if crash.out_of_memory:
            settlement = out_of_memory_settlement(slot, reason, self.trainer.device_class)
            return record_settlements(self.ledger, [settlement])
        return [record_failure(self.ledger, slot, reason, detail=reason)]

    def _count_failures(self, outcomes: Sequence[SlotOutcome]) -> None:
        failed = [outcome for outcome in outcomes if outcome.raised]
        if len(failed) < len(outcomes):
            # The order within a batch is by chance: one that went well speaks for the code.
            self._consecutive_failures = 0
        elif failed:
            # A batch of nothing but second attempts says little more than the first did.
            numbers = {outcome.number for outcome in failed}
            self._consecutive_failures += max(1, len(numbers - self._failed_slots))
        self._failed_slots |= {outcome.number for outcome in failed}
        if self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            failures, self._consecutive_failures = self._consecutive_failures, 0
            resume = continue_command(self.projection.study_name, self.projection.study_kind)
            raise TooManyFailures(
                f"training failed {failures} times in a row, last with {failed[-1].detail}; "
                f"mend the model, the data or your training, then `{resume}`"
            )
