"""The goals of a search: the best metric, the smallest that is good enough, or the front of both.

`Goal` carries the goal and what it needs; inside the search metrics are signed, so that higher is
always better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.9
"""Least belief that a candidate meets the target before "smallest" settles for it."""
_NORMAL_QUANTILE = 1.2816  # of a normal distribution: Φ(1.2816) = 0.9


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What to look for.

    Attributes:
        kind: "best" metric, "smallest" cost that meets the target, or the "front" of the two.
        direction: Whether a higher or a lower metric is better.
        target: For "smallest": the metric that is good enough, in the metric's own sign.
        cost: For "smallest" and "front": the name of the cost to make small.
    """

    kind: Literal["best", "smallest", "front"] = "best"
    direction: Literal["maximize", "minimize"] = "maximize"
    target: float | None = None
    cost: str = "flops"

    @property
    def sign(self) -> float:
        """+1 where a higher metric is better, −1 where a lower one is."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def signed_target(self) -> float:
        """The target as the search sees it, higher being better."""
        assert self.target is not None
        return self.sign * self.target


def good_enough(signed_metric: Floats, goal: Goal) -> NDArray[np.bool_]:
    """Whether each signed metric meets the target, [n]."""
    return signed_metric >= goal.signed_target


def confidently_meets_target(mean: Floats, std: Floats, goal: Goal) -> NDArray[np.bool_]:
    """Whether each candidate is believed to meet the target with `CONFIDENCE`, [n]."""
    return mean - _NORMAL_QUANTILE * std >= goal.signed_target


def pareto_front(cost: Floats, signed_metric: Floats) -> NDArray[np.intp]:
    """Indices of the candidates that no other beats in both cost and metric, by rising cost."""
    order = np.lexsort((-signed_metric, cost))
    best = -np.inf
    front = []
    for index in order:
        if signed_metric[index] > best:
            best = signed_metric[index]
            front.append(index)
    return np.asarray(front, dtype=np.intp)
