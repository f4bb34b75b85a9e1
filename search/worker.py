"""A worker: runs slots of one study until none is left, it is asked to stop, or it keeps failing.

Entry point: `Worker.run`, the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..storage.ledger import Ledger
from .errors import Drained, Exhausted, TooManyFailures
from .runner import Outcome, Runner
from .stopping import StopRequest

# Exceptions in a row, over trials, after which the fault is hardly the candidate's.
MAX_FAILURES_IN_A_ROW = 6
# Seconds between two looks for a slot while other workers hold the last ones.
_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Runs the slots of a study.

    Attributes:
        runner: Runs one slot.
        ledger: The study's budget.
        stop: Asked between trials and epochs.
        report: Called after each step.
    """

    runner: Runner
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
        self.runner.projection.repair()
        failures = 0
        while not self.stop():
            try:
                outcomes = self.runner.step()
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
                failures = failures + 1 if outcome.kind in ("error", "retry") else 0
                if failures >= MAX_FAILURES_IN_A_ROW:
                    raise TooManyFailures(
                        f"training failed {failures} times in a row, last with {outcome.detail}; "
                        "mend the model or the data, then `widthwise resume` the study"
                    )
        raise Drained("stopped on request")

    def _finished(self) -> bool:
        counts = self.ledger.counts()
        return counts.running == 0 and counts.waiting == 0
