"""What a trainer tells its trackers: each trial's beginning, its figures, its end.

Entry points: `Tracking`; `Tracking()` is the null object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from ...storage.ledger.slot import Slot
from .background import STOP_SECONDS, BackgroundTracker
from .tracker import TrackedEnd, TrackedTrial, finite, whole_step


@final
class Tracking:
    """All trackers of one study in this process.

    Args:
        trackers: Those that are told.
        study: The study's name.
        study_id: Of the study alone, also where another one had its name: letters and digits.
    """

    def __init__(
        self, trackers: Sequence[BackgroundTracker] = (), *, study: str = "", study_id: str = ""
    ) -> None:
        self._trackers = tuple(trackers)
        self._study, self._study_id = study, study_id
        self._running: set[int] = set()

    @property
    def count(self) -> int:
        """How many trackers there are."""
        return len(self._trackers)

    def start(self, slot: Slot, *, seed: int, costs: Mapping[str, float]) -> None:
        """Tell that the training of a slot that has widths begins or goes on.

        Args:
            slot: As claimed.
            seed: Of the training.
            costs: By name: what is counted, in its unit, and what was measured, in seconds.
        """
        if not self._trackers:
            return
        trial = TrackedTrial(
            study=self._study,
            study_id=self._study_id,
            number=slot.number,
            attempt=slot.attempt,
            widths=slot.widths or {},
            costs=costs,
            seed=seed,
            origin=slot.origin,
            overrides=slot.overrides,
        )
        self._running.add(trial.number)
        for tracker in self._trackers:
            tracker.start(trial)

    def report(self, number: int, step: float, figures: Mapping[str, float]) -> None:
        """Tell a trial's figures at a step, in epochs; those that are not finite are left out."""
        kept = finite(figures) if number in self._running else {}
        if kept:
            for tracker in self._trackers:
                tracker.report(number, whole_step(step), kept)

    def end(self, number: int, end: TrackedEnd) -> None:
        """Tell how a trial ended; nothing of one whose beginning was not told."""
        if number not in self._running:
            return
        self._running.discard(number)
        for tracker in self._trackers:
            tracker.end(number, end)

    def finish_batch(self, *, in_hurry: bool = False) -> None:
        """Tell that what still runs goes on later or elsewhere, and wait until all is kept.

        Args:
            in_hurry: Whether there is little time.
        """
        for number in sorted(self._running):
            self.end(number, TrackedEnd(outcome="returned", is_final=False))
        for tracker in self._trackers:
            tracker.flush(STOP_SECONDS if in_hurry else None)

    def close(self) -> None:
        """End the trackers' threads; nothing is told afterwards."""
        for tracker in self._trackers:
            tracker.close()
