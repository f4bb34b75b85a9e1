"""The goals of a search: the best metric, the smallest that is good enough, or the front of both.

`Goal` carries the goal and what it needs; inside the search metrics are signed, so that higher is
always better.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.9
"""Least probability that a candidate meets the target with which "smallest" settles for it."""
NORMAL_QUANTILE = 1.2816
"""Of a normal distribution at that confidence: Φ(1.2816) = 0.9."""


class GoalKind(enum.StrEnum):
    """What a search looks for.

    Attributes:
        BEST: The best metric.
        SMALLEST: The smallest cost with a metric that meets the target; without a target, with one
            that is within one standard error of the best.
        FRONT: Everything that nothing else beats in both metric and cost.
    """

    BEST = "best"
    SMALLEST = "smallest"
    FRONT = "front"

    @property
    def uses_cost(self) -> bool:
        """Whether a cost is to be made small."""
        return self is not GoalKind.BEST


class MetricDirection(enum.StrEnum):
    """Whether more or less of a metric is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What to look for.

    `kind` and `direction` may be given by their texts: `Goal(kind="smallest", target=0.9)`.

    Attributes:
        kind: "best" metric, "smallest" cost that meets the target, or the "front" of the two.
        direction: Whether a higher or a lower metric is better.
        target: For "smallest": the metric that is good enough, in the metric's own sign; None for
            what is within one standard error of the best.
        cost: For "smallest" and "front": the name of the cost to make small.
    """

    kind: GoalKind = GoalKind.BEST
    direction: MetricDirection = MetricDirection.MAXIMIZE
    target: float | None = None
    cost: str = "flops"

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", GoalKind(self.kind))
        object.__setattr__(self, "direction", MetricDirection(self.direction))

    @property
    def sign(self) -> float:
        """+1 where a higher metric is better, −1 where a lower one is."""
        return 1.0 if self.direction is MetricDirection.MAXIMIZE else -1.0

    @property
    def signed_target(self) -> float:
        """The target as the search sees it, higher being better."""
        assert self.target is not None
        return self.sign * self.target


def settle_target(goal: Goal, mean: float, deviation: float) -> Goal:
    """Return a goal "smallest" with a target: its own, or one standard error below the best.

    The rule is that of Breiman et al., Classification and Regression Trees (1984), §3.4.3, who take
    the smallest tree within one standard error of the best: what is nearer to the best cannot be
    told from it.

    Args:
        goal: Any; other kinds are returned as they are.
        mean: Metric of the best candidate, as estimated, in the metric's own sign.
        deviation: Standard error of that estimate.
    """
    if goal.kind is not GoalKind.SMALLEST or goal.target is not None:
        return goal
    return replace(goal, target=mean - goal.sign * deviation)


def meets_target(signed_metric: NDArray[np.float64], goal: Goal) -> NDArray[np.bool_]:
    """Return which signed metrics meet the target, [n]."""
    return signed_metric >= goal.signed_target


def confidently_meets_target(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], goal: Goal
) -> NDArray[np.bool_]:
    """Return which candidates meet the target with a probability of `CONFIDENCE`, [n]."""
    return mean - NORMAL_QUANTILE * deviation >= goal.signed_target


def is_good_enough(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], goal: Goal
) -> NDArray[np.bool_]:
    """Return which candidates are good enough for "smallest", [n].

    With a target they meet it with confidence; without one their means are within one standard
    error of the best among them, by the rule of `settle_target`. Of two as good, the best is the
    one that is known better.
    """
    if goal.target is not None:
        return confidently_meets_target(mean, deviation, goal)
    best = int(np.argmax(mean - deviation))
    return np.asarray(mean >= mean[best] - deviation[best])


def cheapest_index(
    qualified: NDArray[np.bool_], signed_metric: NDArray[np.float64], cost: NDArray[np.float64]
) -> int | None:
    """Return the index of the cheapest qualified candidate, None where none qualifies.

    Of equally cheap ones it is the one with the best metric.
    """
    indices = np.flatnonzero(qualified)
    if not len(indices):
        return None
    return int(indices[np.lexsort((-signed_metric[indices], cost[indices]))[0]])


def pareto_front(cost: NDArray[np.float64], signed_metric: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices of the candidates that no other beats in both, by rising cost."""
    order = np.lexsort((-signed_metric, cost))
    best = -np.inf
    front = []
    for index in order:
        if signed_metric[index] > best:
            best = signed_metric[index]
            front.append(index)
    return np.asarray(front, dtype=np.intp)
