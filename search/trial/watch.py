"""What may interrupt a batch of trials in training: a stop, or slots lost to another worker.

Entry points: `BatchWatch`, asked between steps of a training; `Unwatched`, where nothing does;
`interruption_check`, what asks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, final

from ..errors import Drained

if TYPE_CHECKING:
    from ...objectives.loop.loop import MilestoneCallback


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


def interruption_check(numbers: Sequence[int], watch: BatchWatch) -> MilestoneCallback:
    """Return what ends a training on request, and gives up the slots that are lost.

    Args:
        numbers: Of the slots in training, in their order.
        watch: Says whether to go on.
    """

    def check(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
        del epochs, metrics
        if watch.stop_requested():
            raise Drained(f"stopped in {len(numbers)} trials")
        lost = watch.lost()
        return [index for index, number in enumerate(numbers) if number in lost]

    return check
