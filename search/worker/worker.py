"""A worker on one study: batch after batch, until none is left, it is asked to stop, or it fails.

Entry point: `Worker.run`. The pool (`pool.StudyScheduler`) runs batches of several studies in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ...storage.ledger.slot import StudyStatus
from ...storage.study.workers import WorkerActivity
from ..errors import Drained, Exhausted
from .supervisor import TrialSupervisor

# Seconds between two looks for a slot while other workers hold the last ones.
_POLL_SECONDS = 0.5


@final
@dataclass(frozen=True, kw_only=True)
class Worker:
    """Runs the slots of one study to the end of its budget.

    Attributes:
        supervisor: Runs a batch of them.
    """

    supervisor: TrialSupervisor

    def run(self) -> StudyStatus:
        """Work until no slot is left for anybody; wait while the study is paused.

        Returns:
            The study's status then: open, or cancelled where that is why it ended.

        Raises:
            Drained: Stopped on request.
            Exhausted: Every feasible candidate was tried and nobody is training any more.
            TooManyFailures: Training failed too often in a row.
        """
        supervisor, reader = self.supervisor, self.supervisor.ledger.reader
        supervisor.prepare()
        ran_batch = False
        while not supervisor.stop():
            if not ran_batch:
                status = reader.status()
                if status is StudyStatus.CANCELLED:
                    return status
                if status is StudyStatus.PAUSED and not self._is_finished():
                    self._wait_while_paused()
                    continue
            try:
                ran_batch = bool(supervisor.run_batch())
            except Exhausted:
                if reader.counts().running == 0:
                    raise
                ran_batch = False
            if not ran_batch:
                supervisor.observer.activity_changed(WorkerActivity.WAITING)
                if self._is_finished():
                    return StudyStatus.OPEN
                supervisor.stop.wait(_POLL_SECONDS)
        raise Drained("stopped on request")

    def _wait_while_paused(self) -> None:
        """Wait, the device freed, until the study is not paused any more or a stop is asked for."""
        supervisor, reader = self.supervisor, self.supervisor.ledger.reader
        supervisor.trainer.release_device()
        supervisor.observer.activity_changed(WorkerActivity.WAITING)
        while not supervisor.stop() and reader.status() is StudyStatus.PAUSED:
            supervisor.stop.wait(_POLL_SECONDS)
        supervisor.observer.activity_changed(WorkerActivity.STARTING)

    def _is_finished(self) -> bool:
        counts = self.supervisor.ledger.reader.counts()
        return counts.running == 0 and counts.waiting == 0
