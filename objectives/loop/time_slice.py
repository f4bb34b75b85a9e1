"""Time slices: long epochs are trained in parts, so that a callback need not wait for their ends.

Between two slices nothing is validated, and no figure depends on where an epoch is cut; so the
clock may decide.

Entry points: `TimeSlicer`, `in_slices`.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, final

from .milestone import Milestone

SLICE_SECONDS = 1.0
"""Seconds that a slice should take."""

_MAX_GROWTH = 10
"""Factor by which a slice may be longer than the one before: a few steps tell little of
thousands."""


class Slicer(Protocol):
    """What cuts long epochs."""

    def next_milestone(self, epochs_done: float, milestone: Milestone) -> Milestone:
        """Return where to pause on the way to a milestone; the milestone itself where it is near.

        Args:
            epochs_done: Epochs of the running member that has the fewest.
            milestone: Where the way leads.
        """
        ...

    def record_progress(self) -> float:
        """Take note that the milestone returned last is reached; return the seconds it took."""
        ...

    def callback_due(self) -> bool:
        """Return whether the last callback was the time of a slice ago."""
        ...

    def record_callback(self) -> None:
        """Take note that the callback was called just now."""
        ...


def in_slices(
    milestones: Iterable[Milestone], slicer: Slicer, epochs_done: Callable[[], float]
) -> Iterator[Milestone]:
    """Yield milestones with the pauses on the way to each, as long as any member runs.

    Args:
        milestones: In rising order.
        slicer: Where to pause.
        epochs_done: Returns the epochs of the running member that has the fewest; infinite where
            none runs.
    """
    for milestone in milestones:
        reached = None
        while reached is not milestone and math.isfinite(done := epochs_done()):
            reached = slicer.next_milestone(done, milestone)
            yield reached


@final
class TimeSlicer:
    """A slicer whose slices take about a second."""

    def __init__(
        self,
        steps_per_epoch: int,
        *,
        enabled: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start the clock.

        Args:
            steps_per_epoch: Batches in an epoch.
            enabled: Whether to cut epochs at all.
            clock: Returns seconds.
        """
        self._steps_per_epoch, self._clock = steps_per_epoch, clock
        # How long a batch takes is not known yet: the first slice is a single one.
        self._slice_batches = 1.0 if enabled else math.inf
        self._planned_batches = 0
        self._started = self._last_callback = clock()

    def next_milestone(self, epochs_done: float, milestone: Milestone) -> Milestone:
        """Return where to pause on the way to a milestone, or the milestone itself."""
        self._started = self._clock()
        if math.isinf(self._slice_batches):
            return milestone
        epoch = math.ceil(milestone.epochs) - 1
        done, end = (
            math.ceil((epochs - epoch) * self._steps_per_epoch)
            for epochs in (epochs_done, milestone.epochs)
        )
        slice_end = done + max(1, int(self._slice_batches))
        if slice_end + self._slice_batches / 2 >= end:  # no rest of less than half a slice
            self._planned_batches = end - done
            return milestone
        self._planned_batches = slice_end - done
        # In the middle of its last batch, which counts as begun: no rounding brings another.
        return Milestone(epochs=epoch + (slice_end - 0.5) / self._steps_per_epoch, validate=False)

    def record_progress(self) -> float:
        """Adapt the length of slices to the seconds since the last one began, and return these."""
        seconds = self._clock() - self._started
        if not math.isinf(self._slice_batches) and self._planned_batches > 0:
            batches_in_time = self._planned_batches * SLICE_SECONDS / max(seconds, 1e-9)
            self._slice_batches = min(
                batches_in_time, _MAX_GROWTH * max(self._planned_batches, self._slice_batches)
            )
        return seconds

    def callback_due(self) -> bool:
        """Return whether the last callback was the time of a slice ago."""
        return self._clock() - self._last_callback >= SLICE_SECONDS

    def record_callback(self) -> None:
        """Take note that the callback was called just now."""
        self._last_callback = self._clock()
