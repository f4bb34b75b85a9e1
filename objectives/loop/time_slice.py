"""Breaths: long epochs are done in parts, so that whoever asks for a stop need not wait for one.

Between two parts nobody is judged, and nothing that a training gives depends on where an epoch is
cut; so the clock may decide.

Entry point: `TimeSlicer`.
"""

import math
import time
from typing import final

from .fold import Milestone

SLICE_SECONDS = 1.0
"""What a part should take."""

_MAX_GROWTH = 10
"""How much longer than the part before one may be: a few steps tell little of thousands."""


@final
class TimeSlicer:
    """Cuts the way from stop to stop."""

    def __init__(self, steps_per_epoch: int, *, enabled: bool) -> None:
        """Begin.

        Args:
            steps_per_epoch: Batches in an epoch.
            enabled: Whether anybody is asked in between; if not, nothing is cut.
        """
        self._steps_per_epoch = steps_per_epoch
        # Nobody knows yet how long a batch takes: the first part is a single one.
        self._slice_batches = 1.0 if enabled else math.inf
        self._planned_batches = 0
        self._last_callback = time.perf_counter()

    def next_milestone(self, epochs_done: float, milestone: Milestone) -> Milestone:
        """Return where to pause on the way to a stop; the stop itself where it is near."""
        if math.isinf(self._slice_batches):
            return milestone
        epoch = math.ceil(milestone.epochs) - 1
        done, end = (
            math.ceil((epochs - epoch) * self._steps_per_epoch)
            for epochs in (epochs_done, milestone.epochs)
        )
        slice_end = done + max(1, int(self._slice_batches))
        if slice_end + self._slice_batches / 2 >= end:  # no rest of less than half a part
            self._planned_batches = end - done
            return milestone
        self._planned_batches = slice_end - done
        # In the middle of its last batch, which counts as begun: no rounding brings another.
        return Milestone(epochs=epoch + (slice_end - 0.5) / self._steps_per_epoch, validate=False)

    def record_duration(self, seconds: float) -> None:
        """Take how long it took to come there."""
        if not math.isinf(self._slice_batches) and self._planned_batches > 0:
            batches_in_time = self._planned_batches * SLICE_SECONDS / max(seconds, 1e-9)
            self._slice_batches = min(
                batches_in_time, _MAX_GROWTH * max(self._planned_batches, self._slice_batches)
            )

    def callback_due(self) -> bool:
        """Say whether nobody was asked for the time of a part."""
        return time.perf_counter() - self._last_callback >= SLICE_SECONDS

    def record_callback(self) -> None:
        """Take that somebody was asked just now."""
        self._last_callback = time.perf_counter()
