"""A worker: runs slots of one study until none is left, it is asked to stop, or it keeps failing.

Entry point: `Worker.run`, the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..storage.ledger import Ledger
from .errors import Drained, Exhausted, TooManyFailures
from .holder import Holder
from .outcome import Outcome
from .stopping import StopRequest

# Exceptions in a row, over trials, after which the fault is hardly the candidate's.
MAX_FAILURES_IN_A_ROW = 6
# Seconds between two looks for a slot while other workers hold the last ones.
_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Runs the slots of a study.

    Attributes:
        holder: Claims slots and sees them through.
        ledger: The study's budget.
        stop: Asked between trials and epochs.
        report: Called after each step.
    """

    holder: Holder
    ledger: Ledger
    stop: StopRequest
    report: Callable[[Outcome], None]

    def run(self) -> None:
        """Work until no slot is left for anybody.

        Raises:
            Drained: Stopped on request.
            Exhausted: Every feasible candidate was tried and nobody is training any more.
            TooManyFailures: Training failed too often in a row.
        """
        self.holder.projection.repair()
        failures = 0
        tried: set[int] = set()
        while not self.stop():
            try:
                outcomes = self.holder.step()
            except Exhausted:
                if self.ledger.counts().running == 0:
                    raise
                outcomes = []
            if not outcomes:
                if self._finished():
                    return
                self.stop.wait(_POLL_SECONDS)
            for outcome in outcomes:
                self.report(outcome)
            failed = [one for one in outcomes if one.kind in ("error", "retry")]
            if len(failed) < len(outcomes):
                # The order within a batch is by chance: one that went well speaks for the code.
                failures = 0
            elif failed:
                # A batch of nothing but second attempts says little more than the first did.
                failures += max(1, len({one.number for one in failed} - tried))
            tried |= {one.number for one in failed}
            if failures >= MAX_FAILURES_IN_A_ROW:
                raise TooManyFailures(
                    f"training failed {failures} times in a row, last with {failed[-1].detail}; "
                    "mend the model or the data, then `widthwise resume` the study"
                )
        raise Drained("stopped on request")

    def _finished(self) -> bool:
        counts = self.ledger.counts()
        return counts.running == 0 and counts.waiting == 0
