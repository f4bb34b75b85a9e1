"""Milestones: the points of a training at which members pause, are validated, or are compared.

Entry points: `Milestone`, `milestones`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..training.settings import ProxySettings


@dataclass(frozen=True, kw_only=True)
class Milestone:
    """A point of the training.

    Attributes:
        epochs: Epochs from the beginning to this point; not whole within an epoch.
        rung: Whether candidates are compared here, and those that fall behind are stopped.
        validate: Whether members are validated here; at other milestones they only pause.
    """

    epochs: float
    rung: bool = False
    validate: bool = True

    @property
    def epoch_fraction(self) -> float:
        """Share of the current epoch that is done here, in (0, 1]."""
        return self.epochs - math.ceil(self.epochs) + 1

    @property
    def ends_epoch(self) -> bool:
        """Whether every training row was seen in the current epoch."""
        return self.epoch_fraction == 1


def milestones(settings: ProxySettings) -> Iterator[Milestone]:
    """Yield the milestones of a training in order: the ends of epochs, and the rungs."""
    rungs = settings.rungs
    for epochs in sorted({*map(float, range(1, settings.epochs + 1)), *rungs}):
        due = epochs % settings.validate_every == 0 or epochs == settings.epochs
        yield Milestone(epochs=epochs, rung=epochs in rungs, validate=due or epochs in rungs)
