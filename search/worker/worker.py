"""A worker on one study: batch after batch, until none is left, it is asked to stop, or it fails.

Entry points: `Worker.run`, the loop of a worker that serves this study alone, and `Worker.step`, a
batch of it, for the pool (`pool.Pool`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...storage.ledger.ledger import Ledger
from ..errors import Drained, Exhausted, TooManyFailures
from ..trial.outcome import Outcome
from .shutdown import StopRequest
from .supervisor import Holder, unwatched

# Exceptions in a row, over trials, after which the fault is hardly the candidate's.
MAX_FAILURES_IN_A_ROW = 6
# Seconds between two looks for a slot while other workers hold the last ones.
_POLL_SECONDS = 0.5


def _keep() -> None:
    """Keep what the trainer has: it has nothing of its own."""


@dataclass(kw_only=True)
class Worker:
    """Runs the slots of a study.

    Attributes:
        holder: Claims slots and sees them through.
        ledger: The study's budget.
        stop: Asked between trials and epochs.
        report: Called with each outcome.
        rest: Frees the device while there is nothing to train for long.
        tell: Called with what this worker does: "starting", "training" or "waiting".
    """

    holder: Holder
    ledger: Ledger
    stop: StopRequest
    report: Callable[[Outcome], None]
    rest: Callable[[], None] = field(default=_keep)
    tell: Callable[[str], None] = field(default=unwatched)
    _failures: int = field(default=0, init=False)
    _failed: set[int] = field(default_factory=set, init=False)

    def run(self) -> str:
        """Work until no slot is left for anybody; wait while the study is paused.

        Returns:
            The study's status then: "open", or "cancelled" where that is why it ended.

        Raises:
            Drained: Stopped on request.
            Exhausted: Every feasible candidate was tried and nobody is training any more.
            TooManyFailures: Training failed too often in a row.
        """
        self.begin()
        worked = False
        while not self.stop():
            if not worked:
                status = self.ledger.status()
                if status == "cancelled":
                    return status
                if status == "paused" and not self._finished():
                    self._sit_out()
                    continue
            try:
                worked = self.step()
            except Exhausted:
                if self.ledger.counts().running == 0:
                    raise
                worked = False
            if not worked:
                self.tell("waiting")
                if self._finished():
                    return "open"
                self.stop.wait(_POLL_SECONDS)
        raise Drained("stopped on request")

    def begin(self) -> None:
        """Mend what other workers left half-told; before the first step."""
        self.tell("starting")
        self.holder.projection.repair()

    def step(self) -> bool:
        """Run a batch of slots.

        Returns:
            Whether there was one; False too where the study was paused or cancelled under way.

        Raises:
            Drained: Stopped on request.
            Exhausted: There are slots, but every feasible candidate was tried.
            TooManyFailures: Training failed too often in a row.
        """
        try:
            outcomes = self.holder.step()
        except Drained:
            if self.stop():
                raise
            return False
        for outcome in outcomes:
            self.report(outcome)
        self._judge(outcomes)
        return bool(outcomes)

    def _judge(self, outcomes: Sequence[Outcome]) -> None:
        failed = [one for one in outcomes if one.kind in ("error", "retry")]
        if len(failed) < len(outcomes):
            # The order within a batch is by chance: one that went well speaks for the code.
            self._failures = 0
        elif failed:
            # A batch of nothing but second attempts says little more than the first did.
            self._failures += max(1, len({one.number for one in failed} - self._failed))
        self._failed |= {one.number for one in failed}
        if self._failures >= MAX_FAILURES_IN_A_ROW:
            failures, self._failures = self._failures, 0
            raise TooManyFailures(
                f"training failed {failures} times in a row, last with {failed[-1].detail}; "
                "mend the model or the data, then `widthwise resume` the study"
            )

    def _sit_out(self) -> None:
        """Wait, the device freed, until the study is not paused any more or a stop is asked for."""
        self.rest()
        self.tell("waiting")
        while not self.stop() and self.ledger.status() == "paused":
            self.stop.wait(_POLL_SECONDS)
        self.tell("starting")

    def _finished(self) -> bool:
        counts = self.ledger.counts()
        return counts.running == 0 and counts.waiting == 0
