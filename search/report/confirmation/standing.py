"""Where each contender stands in the race, judged by what the goal asks for.

For the goals "best" and "front" a challenger has to be better than every plain baseline. For
"smallest" the cheapest contender is looked for that meets the target or, without a target, is as
good as every costlier one, to within one standard deviation between seeds. Both are
intersection-union tests (Berger, 1982): as all of the comparisons must hold, none of them needs a
stricter level for there being several.

Entry points: `judge_standings`, `Standing`, `beats_constant`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from ...goal import Goal, GoalKind
from .comparison import Comparison, ConfirmedValues, Margin, compare, is_hopeless_above
from .contender import SPREAD, Contender
from .sequential import SUFFICIENCY_ERROR, MeanInterval

CONSTANT_ERROR = 0.05
"""One-sided error of "some contender is better than a constant prediction"."""


class State(enum.Enum):
    """What is known of a contender.

    Attributes:
        PROVEN: It is what the goal asks for, beyond doubt.
        REFUTED: It is not, or more seeds are not going to show it.
        OPEN: More seeds may tell.
    """

    PROVEN = enum.auto()
    REFUTED = enum.auto()
    OPEN = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a contender stands.

    Attributes:
        contender: The contender.
        state: What is known of it.
        comparisons: What that is judged by; none where it is judged against a target.
        metric: Its own signed metric, with the interval that a target is judged by; None where
            every training failed.
        open_references: The contenders that it is not yet told from.
    """

    contender: Contender
    state: State
    comparisons: Sequence[Comparison] = ()
    metric: MeanInterval | None = None
    open_references: Sequence[Contender] = ()


def judge_standings(
    contenders: Sequence[Contender], values: ConfirmedValues, goal: Goal
) -> list[Standing]:
    """Return where the contenders stand that are judged: challengers, or all by rising cost."""
    judged = [contender for contender in contenders if contender.label != SPREAD]
    if goal.kind is not GoalKind.SMALLEST:
        baselines = [contender for contender in judged if contender.is_baseline]
        return [
            _gain_standing(contender, baselines, values)
            for contender in judged
            if contender.is_challenger
        ]
    by_cost = sorted(judged, key=lambda contender: contender.costs.get(goal.cost, math.inf))
    if goal.target is not None:
        return [_target_standing(contender, values, goal.signed_target) for contender in by_cost]
    margin = values.margin()
    return [
        _sufficiency_standing(contender, by_cost[index + 1 :], values, margin)
        for index, contender in enumerate(by_cost)
    ]


def undecided(standings: Sequence[Standing], goal: Goal) -> list[Standing]:
    """Return those on which the answer still hangs; none once it is known."""
    if goal.kind is not GoalKind.SMALLEST:
        if any(standing.state is State.PROVEN for standing in standings):
            return []
        return [standing for standing in standings if standing.state is State.OPEN]
    cheaper: list[Standing] = []
    for standing in standings:
        if standing.state is State.PROVEN:
            break
        cheaper.append(standing)
    return [standing for standing in cheaper if standing.state is State.OPEN]


def _gain_standing(
    contender: Contender, baselines: Sequence[Contender], values: ConfirmedValues
) -> Standing:
    comparisons = _compare_all(values, contender, baselines)
    uncompared = _uncompared(values, comparisons, baselines)
    metric = _metric(contender, values)
    if metric is None or any(item.is_loss or item.is_hopeless for item in comparisons):
        state = State.REFUTED
    elif comparisons and not uncompared and all(item.is_gain for item in comparisons):
        state = State.PROVEN
    else:
        state = State.OPEN if comparisons or uncompared else State.REFUTED
    return Standing(
        contender=contender,
        state=state,
        comparisons=comparisons,
        metric=metric,
        open_references=[
            *(item.reference for item in comparisons if not item.is_gain),
            *uncompared,
        ],
    )


def _target_standing(contender: Contender, values: ConfirmedValues, target: float) -> Standing:
    metric = _metric(contender, values, target)
    if metric is not None and metric.low >= target:
        state = State.PROVEN
    elif metric is None or is_hopeless_above(metric, target, SUFFICIENCY_ERROR, values.rules):
        state = State.REFUTED
    else:
        state = State.OPEN
    return Standing(contender=contender, state=state, metric=metric)


def _sufficiency_standing(
    contender: Contender, costlier: Sequence[Contender], values: ConfirmedValues, margin: Margin
) -> Standing:
    comparisons = _compare_all(values, contender, costlier)
    uncompared = _uncompared(values, comparisons, costlier)
    metric = _metric(contender, values)
    if metric is None or any(item.is_hopelessly_worse(margin) for item in comparisons):
        state = State.REFUTED
    elif not uncompared and all(item.is_as_good(margin) for item in comparisons):
        state = State.PROVEN
    else:
        state = State.OPEN
    return Standing(
        contender=contender,
        state=state,
        comparisons=comparisons,
        metric=metric,
        open_references=[
            *(item.reference for item in comparisons if not item.is_as_good(margin)),
            *uncompared,
        ],
    )


def _compare_all(
    values: ConfirmedValues, contender: Contender, references: Sequence[Contender]
) -> list[Comparison]:
    """Compare with each reference that was trained; one that failed every time loses to all."""
    comparisons = (compare(values, contender, reference) for reference in references)
    return [comparison for comparison in comparisons if comparison is not None]


def _uncompared(
    values: ConfirmedValues, comparisons: Sequence[Comparison], references: Sequence[Contender]
) -> list[Contender]:
    """Return the references that have a metric, though with no seed that the contender has."""
    compared = [comparison.reference for comparison in comparisons]
    return [item for item in references if values.of(item) and item not in compared]


def _metric(
    contender: Contender, values: ConfirmedValues, target: float | None = None
) -> MeanInterval | None:
    own = values.of(contender)
    return values.rules.mean_interval(own, SUFFICIENCY_ERROR, target) if own else None


def beats_constant(
    contenders: Sequence[Contender], values: ConfirmedValues, constant: float
) -> bool:
    """Return whether any contender is better than a constant prediction.

    A one-sided t test of each contender's mean, with the standard deviation between seeds pooled
    over all of them: with five seeds each it has freedom enough to see a small signal. Any of k
    contenders may be the one, so each is tested at 5 % / k (Bonferroni's inequality): at 5 % each
    a study of five contenders that learned nothing passed in 22 % of simulated confirmations.

    Args:
        contenders: Whose trainings to judge.
        values: Of the confirmation.
        constant: The signed metric of a constant prediction.
    """
    trained = [own for contender in contenders if (own := values.of(contender))]
    if not trained:
        return False
    deviation = values.seed_deviation()
    if deviation is None:
        return max(float(np.mean(own)) for own in trained) > constant
    critical = float(scipy.stats.t.isf(CONSTANT_ERROR / len(trained), values.freedom))
    return any(
        float(np.mean(own)) - critical * deviation / math.sqrt(len(own)) > constant
        for own in trained
    )
