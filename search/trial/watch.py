"""What may interrupt a batch of trials in training: a stop, or slots lost to another worker.

Entry points: `BatchWatch`, asked between steps of a training; `Unwatched`, where nothing does.
"""

from __future__ import annotations

from typing import Protocol, final


class BatchWatch(Protocol):
    """What a training asks whether to go on."""

    def stop_requested(self) -> bool:
        """Return whether to stop all trainings and give their slots back."""
        ...

    def lost(self) -> frozenset[int]:
        """Return the numbers of the slots that another worker may hold by now."""
        ...


@final
class Unwatched:
    """The null object: nothing interrupts the batch."""

    def stop_requested(self) -> bool:
        """Return False."""
        return False

    def lost(self) -> frozenset[int]:
        """Return no numbers."""
        return frozenset()
