"""A worker on one study: batch after batch, until none is left, it is asked to stop, or it fails.

Entry points: `Worker.run`, the loop of a worker that serves this study alone, and `Worker.run_batch`, a
batch of it, for the pool (`pool.StudyScheduler`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...storage.ledger.ledger import Ledger
from ...storage.ledger.slot import StudyStatus
from ...storage.study.workers import WorkerActivity
from ..errors import Drained, Exhausted, TooManyFailures
from ..trial.outcome import Outcome
from .shutdown import StopRequest
from .supervisor import TrialSupervisor, ignore_activity

# Exceptions in a row, over trials, after which the fault is hardly the candidate's.
MAX_CONSECUTIVE_FAILURES = 6
# Seconds between two looks for a slot while other workers hold the last ones.
_POLL_SECONDS = 0.5


def _release_nothing() -> None:
    """Keep what the trainer has: it has nothing of its own."""


@dataclass(kw_only=True)
class Worker:
    """Runs the slots of a study.

    Attributes:
        supervisor: Claims slots and sees them through.
        ledger: The study's budget.
        stop: Asked between trials and epochs.
        on_outcome: Called with each outcome.
        release_device: Frees the device while there is nothing to train for long.
        on_activity: Called with what this worker does.
    """

    supervisor: TrialSupervisor
    ledger: Ledger
    stop: StopRequest
    on_outcome: Callable[[Outcome], None]
    release_device: Callable[[], None] = field(default=_release_nothing)
    on_activity: Callable[[WorkerActivity], None] = field(default=ignore_activity)
    _consecutive_failures: int = field(default=0, init=False)
    _failed_slots: set[int] = field(default_factory=set, init=False)

    def run(self) -> StudyStatus:
        """Work until no slot is left for anybody; wait while the study is paused.

        Returns:
            The study's status then: open, or cancelled where that is why it ended.

        Raises:
            Drained: Stopped on request.
            Exhausted: Every feasible candidate was tried and nobody is training any more.
            TooManyFailures: Training failed too often in a row.
        """
        self.prepare()
        ran_batch = False
        while not self.stop():
            if not ran_batch:
                status = self.ledger.reader.status()
                if status == StudyStatus.CANCELLED:
                    return status
                if status == StudyStatus.PAUSED and not self._is_finished():
                    self._wait_while_paused()
                    continue
            try:
                ran_batch = self.run_batch()
            except Exhausted:
                if self.ledger.reader.counts().running == 0:
                    raise
                ran_batch = False
            if not ran_batch:
                self.on_activity(WorkerActivity.WAITING)
                if self._is_finished():
                    return StudyStatus.OPEN
                self.stop.wait(_POLL_SECONDS)
        raise Drained("stopped on request")

    def prepare(self) -> None:
        """Mend what other workers left half-told; before the first step."""
        self.on_activity(WorkerActivity.STARTING)
        self.supervisor.projection.repair()

    def run_batch(self) -> bool:
        """Run a batch of slots.

        Returns:
            Whether there was one; False too where the study was paused or cancelled under way.

        Raises:
            Drained: Stopped on request.
            Exhausted: There are slots, but every feasible candidate was tried.
            TooManyFailures: Training failed too often in a row.
        """
        try:
            outcomes = self.supervisor.run_batch()
        except Drained:
            if self.stop():
                raise
            return False
        for outcome in outcomes:
            self.on_outcome(outcome)
        self._count_failures(outcomes)
        return bool(outcomes)

    def _count_failures(self, outcomes: Sequence[Outcome]) -> None:
        failed = [outcome for outcome in outcomes if outcome.kind in ("error", "retry")]
        if len(failed) < len(outcomes):
            # The order within a batch is by chance: one that went well speaks for the code.
            self._consecutive_failures = 0
        elif failed:
            # A batch of nothing but second attempts says little more than the first did.
            self._consecutive_failures += max(
                1, len({outcome.number for outcome in failed} - self._failed_slots)
            )
        self._failed_slots |= {outcome.number for outcome in failed}
        if self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            failures, self._consecutive_failures = self._consecutive_failures, 0
            raise TooManyFailures(
                f"training failed {failures} times in a row, last with {failed[-1].detail}; "
                "mend the model or the data, then `widthwise resume` the study"
            )

    def _wait_while_paused(self) -> None:
        """Wait, the device freed, until the study is not paused any more or a stop is asked for."""
        self.release_device()
        self.on_activity(WorkerActivity.WAITING)
        while not self.stop() and self.ledger.reader.status() == StudyStatus.PAUSED:
            self.stop.wait(_POLL_SECONDS)
        self.on_activity(WorkerActivity.STARTING)

    def _is_finished(self) -> bool:
        counts = self.ledger.reader.counts()
        return counts.running == 0 and counts.waiting == 0
