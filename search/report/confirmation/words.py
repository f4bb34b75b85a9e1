"""Metrics, differences and shares in words: points where a metric is a share, else its own unit.

Entry points: `MetricWords`, `share_of_cost`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ...units import COST_BY_NAME
from ..metric_format import SHARE_METRICS


class MeanDifference(Protocol):
    """A mean difference with its interval, higher being better."""

    @property
    def mean(self) -> float:
        """The first less the second."""
        ...

    @property
    def half_width(self) -> float:
        """Of the interval; infinite where it is not known."""
        ...


@dataclass(frozen=True, kw_only=True)
class MetricWords:
    """How a metric is written.

    Attributes:
        name: The metric's.
        sign: +1 where higher is better, −1 where lower is.
    """

    name: str
    sign: float

    @property
    def is_share(self) -> bool:
        """Whether its differences are told in percentage points."""
        return self.name in SHARE_METRICS

    def amount(self, size: float, half_width: float | None = None) -> str:
        """Return the size of a difference, such as "0.8 ± 0.3 points" or "0.021 ± 0.008"."""
        scale, unit = (100.0, " points") if self.is_share else (1.0, "")
        size = scale * size
        if half_width is None or not math.isfinite(half_width):
            return f"{size:.{_decimals(abs(size))}f}{unit}"
        half_width = scale * half_width
        decimals = _decimals(half_width or abs(size))
        return f"{size:.{decimals}f} ± {half_width:.{decimals}f}{unit}"

    def signed(self, difference: MeanDifference) -> str:
        """Return a signed difference in the metric's own sign: "+0.8 ± 0.3 points"."""
        text = self.amount(self.sign * difference.mean, difference.half_width)
        return text if text.startswith("-") else f"+{text}"

    def value(self, signed_mean: float, half_width: float | None = None) -> str:
        """Return a metric, with the half width of its interval: "accuracy 0.975 ± 0.003"."""
        mean = self.sign * signed_mean
        if half_width is None or not math.isfinite(half_width):
            return f"{self.name} {mean:.4g}"
        decimals = _decimals(half_width) if half_width else 4
        return f"{self.name} {mean:.{decimals}f} ± {half_width:.{decimals}f}"


def _decimals(size: float) -> int:
    """Return the decimals that show a size to one digit, to two where it begins with 1."""
    if not size or not math.isfinite(size):
        return 1
    leading = math.floor(math.log10(size))
    decimals = -leading + (size / 10.0**leading < 2.0)
    return min(max(decimals, 0), 8)


def share_of_cost(
    costs: Mapping[str, float], reference: Mapping[str, float], cost: str
) -> str | None:
    """Return what share of another's cost this is: "41 % of its FLOPs" lacks but "of its"."""
    if not reference.get(cost) or cost not in costs:
        return None
    share = 100.0 * costs[cost] / reference[cost]
    text = f"{share:.0f}" if share >= 1.0 else f"{share:.1g}"
    return f"{text} % of the {cost_title(cost)}"


def cost_title(cost: str) -> str:
    """Return what people call a cost."""
    known = COST_BY_NAME.get(cost)
    return cost if known is None else known.title
