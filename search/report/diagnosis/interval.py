"""Effects: what a change brings, with its interval, as draws of a posterior or a fit tell it.

All effects here are gains: in the metric's unit, positive where it gets better, whichever way the
metric runs. Entry points: `Effect`, `effect_of`, `gain_unit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...goal import CONFIDENCE, Goal
from ...surrogate.observations import Floats

TAIL = (1.0 - CONFIDENCE) / 2.0
"""Probability on either side of an interval: they are of 90 %, as is the confidence of a target."""

SURE = 1.0 - TAIL
"""Probability from which a claim is made, 95 %: then the whole of the interval shown agrees."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A gain in the metric's unit, positive where better, with its 90 % interval.

    Attributes:
        mean: Expected gain.
        low: Lower end of the interval.
        high: Upper end.
        probability_positive: Probability that it is a gain at all.
    """

    mean: float
    low: float
    high: float
    probability_positive: float

    @property
    def is_gain(self) -> bool:
        """Whether it surely is a gain."""
        return self.probability_positive >= SURE

    def to_json(self) -> dict[str, float]:
        """Return the figures as JSON."""
        return {
            "gain": self.mean,
            "low": self.low,
            "high": self.high,
            "probability_positive": self.probability_positive,
        }

    def __str__(self) -> str:
        """Return it for people: `+0.0042 (0.0011 to 0.0073)`."""
        decimals = _decimals((self.high - self.low) / 2.0, self.mean)
        return f"{self.mean:+.{decimals}f} ({self.low:.{decimals}f} to {self.high:.{decimals}f})"


def effect_of(draws: Floats) -> Effect:
    """Return the effect that draws of a gain tell, [count]."""
    low, high = np.quantile(draws, [TAIL, 1.0 - TAIL])
    return Effect(
        mean=float(draws.mean()),
        low=float(low),
        high=float(high),
        probability_positive=float((draws > 0).mean()),
    )


def gain_unit(metric: str, goal: Goal) -> str:
    """Return what stands behind a gain: the metric, and that it falls where less is better."""
    return metric if goal.sign > 0 else f"{metric} (a gain: it falls)"


def format_amount(value: float) -> str:
    """Return an amount of a metric for people, in three significant digits."""
    return f"{value:.{_decimals(abs(value) / 10.0, value)}f}"


def _decimals(spread: float, value: float) -> int:
    """Return the decimals that show two digits of a spread; of the value where it has none."""
    reference = spread if spread > 0 else abs(value)
    if not 0 < reference < math.inf:
        return 0
    return min(max(0, 1 - math.floor(math.log10(reference))), 12)
