"""What a worker tells whoever watches it: what it does, and how trials ended.

Entry points: `WorkerObserver`; `SilentObserver`, where nobody watches.
"""

from __future__ import annotations

from typing import Protocol, final

from ...storage.study.workers import WorkerActivity
from ..trial.outcome import SlotOutcome


class WorkerObserver(Protocol):
    """Is notified of what a worker on one study does."""

    def activity_changed(self, activity: WorkerActivity) -> None:
        """Note what the worker does from now on."""
        ...

    def slot_ended(self, outcome: SlotOutcome) -> None:
        """Note how a slot of the worker ended."""
        ...


@final
class SilentObserver:
    """The null object: notes nothing."""

    def activity_changed(self, activity: WorkerActivity) -> None:
        """Do nothing."""

    def slot_ended(self, outcome: SlotOutcome) -> None:
        """Do nothing."""
