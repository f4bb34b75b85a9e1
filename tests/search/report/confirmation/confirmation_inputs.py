"""Contenders and trainings of confirmations that were never run, for the tests of this folder."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from widthwise.search.goal import Goal, GoalKind
from widthwise.search.report.confirmation.confirmed_run import ConfirmedRun
from widthwise.search.report.confirmation.contender import Contender
from widthwise.search.report.reference import Reference

BEST = Goal(kind=GoalKind.BEST)


def contender(label: str, width: int, *others: str) -> Contender:
    return Contender(
        label=label,
        widths={"hidden": width},
        costs={"flops": 100.0 * width, "parameters": 50.0 * width},
        labels=(label, *others),
    )


RECOMMENDED = contender("recommended", 40)
RUNNER_UP = contender("runner-up", 60)
LARGEST = contender("largest that fits", 100)
UNIFORM = contender("uniform scaling", 80)
RULE = contender("rule of thumb", 10)
FIELD = [RECOMMENDED, RUNNER_UP, LARGEST, UNIFORM, RULE]


def evidence(
    goal: Goal = BEST,
    metric: str = "accuracy",
    references: Sequence[Reference] = (),
    **others: Any,
) -> Any:
    limits = SimpleNamespace(bounds={})
    return SimpleNamespace(
        row=SimpleNamespace(name="digits"),
        goal=goal,
        spec=SimpleNamespace(metric=metric, limits=limits, study=SimpleNamespace(seed=7)),
        references=references,
        **{"trials": [], "posterior": None, "follow_ups": {}, "race": None, **others},
    )


def training(item: Contender, index: int, value: float | None, **others: Any) -> ConfirmedRun:
    return ConfirmedRun(
        label=item.label,
        widths=item.widths,
        seed=1000 + index,
        seed_index=index,
        value=value,
        **{"seconds": 1.0, **others},
    )


def trainings(item: Contender, values: Sequence[float | None], **others: Any) -> list[ConfirmedRun]:
    return [training(item, index, value, **others) for index, value in enumerate(values)]
