"""Breaths: long epochs are done in parts, so that whoever asks for a stop need not wait for one.

Between two parts nobody is judged, and nothing that a training gives depends on where an epoch is
cut; so the clock may decide.

Entry point: `Breaths`.
"""

import math
import time
from typing import final

from .fold import Stop

SECONDS = 1.0
"""What a part should take."""

_GROWTH = 10
"""How much longer than the part before one may be: a few steps tell little of thousands."""


@final
class Breaths:
    """Cuts the way from stop to stop."""

    def __init__(self, steps: int, *, asked: bool) -> None:
        """Begin.

        Args:
            steps: Batches in an epoch.
            asked: Whether anybody is asked in between; if not, nothing is cut.
        """
        self._steps = steps
        # Nobody knows yet how long a batch takes: the first part is a single one.
        self._batches = 1.0 if asked else math.inf
        self._ahead = 0
        self._last = time.perf_counter()

    def next(self, at: float, stop: Stop) -> Stop:
        """Return where to pause on the way to a stop; the stop itself where it is near."""
        if math.isinf(self._batches):
            return stop
        epoch = math.ceil(stop.epochs) - 1
        done, end = (math.ceil((epochs - epoch) * self._steps) for epochs in (at, stop.epochs))
        aim = done + max(1, int(self._batches))
        if aim + self._batches / 2 >= end:  # no rest of less than half a part
            self._ahead = end - done
            return stop
        self._ahead = aim - done
        # In the middle of its last batch, which counts as begun: no rounding brings another.
        return Stop(epochs=epoch + (aim - 0.5) / self._steps, judged=False)

    def trained(self, seconds: float) -> None:
        """Take how long it took to come there."""
        if not math.isinf(self._batches) and self._ahead > 0:
            in_time = self._ahead * SECONDS / max(seconds, 1e-9)
            self._batches = min(in_time, _GROWTH * max(self._ahead, self._batches))

    def due(self) -> bool:
        """Say whether nobody was asked for the time of a part."""
        return time.perf_counter() - self._last >= SECONDS

    def asked(self) -> None:
        """Take that somebody was asked just now."""
        self._last = time.perf_counter()
