"""The recommendation: judged by the surrogate, not by luck; honest where there is no gain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from widthwise.search.goal import Goal
from widthwise.search.report.recommendation import recommend
from widthwise.search.sampler.baselines import LARGEST
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.history import Trial

SPACE = Space((Width.range("a", 8, 64, step=8), Width.range("b", 8, 64, step=8)))


def cost(candidates: np.ndarray) -> Mapping[str, np.ndarray]:
    return {"flops": 2 * candidates.prod(axis=1)}


def trial(number: int, a: int, b: int, value: float) -> Trial:
    return Trial(
        number=number,
        widths={"a": a, "b": b},
        origin=LARGEST if number == 0 else "sampler",
        value=value,
        test=None,
        costs={"flops": 2 * a * b},
        curve=(),
        seconds=1.0,
        seed=number,
    )


def quality(a: int, b: int) -> float:
    return 0.9 - 0.05 * ((np.log2(a) - 4.5) ** 2 + (np.log2(b) - 4.5) ** 2)


def trials(noise: float, count: int = 24, flat: bool = False) -> list[Trial]:
    rng = np.random.default_rng(0)
    everything = SPACE.enumerate()
    rows = [[64, 64], *everything[rng.choice(len(everything) - 1, size=count, replace=False)]]
    return [
        trial(i, int(a), int(b), (0.8 if flat else quality(a, b)) + rng.normal(0, noise))
        for i, (a, b) in enumerate(rows)
    ]


def test_no_trial_no_recommendation() -> None:
    assert recommend(SPACE, Goal(), []) is None


def test_a_real_gain_is_found_and_put_in_figures() -> None:
    answer = recommend(SPACE, Goal(), trials(0.005))
    assert answer is not None
    assert answer.verdict.startswith("+")
    assert "largest that fits" in answer.verdict
    assert quality(**answer.recommended.widths) > 0.87


def test_luck_alone_is_no_gain() -> None:
    answer = recommend(SPACE, Goal(), trials(0.02, flat=True))
    assert answer is not None
    assert answer.verdict.startswith("No gain found")
    assert answer.recommended.number == 0
    assert answer.best.number != 0


def test_the_pick_may_be_untried_and_says_so() -> None:
    feasible = FeasibleSet(SPACE, Limits(flops=4000), cost)
    some = [one for one in trials(0.005, 16) if one.costs["flops"] <= 4000]
    answer = recommend(SPACE, Goal(), some, feasible)
    assert answer is not None
    assert answer.pick is not None
    tried = [dict(one.widths) for one in some]
    assert answer.pick.trained == (dict(answer.pick.widths) in tried)
    assert answer.pick.low < answer.pick.mean < answer.pick.high
    assert abs(answer.pick.mean - quality(**answer.pick.widths)) < 0.03


def test_a_lower_metric_can_be_better() -> None:
    lower = [
        trial(one.number, one.widths["a"], one.widths["b"], -one.value) for one in trials(0.005)
    ]
    answer = recommend(SPACE, Goal(direction="minimize"), lower)
    assert answer is not None
    assert quality(**answer.recommended.widths) > 0.87
    assert answer.estimates[0].mean < 0


def test_the_smallest_needs_confidence() -> None:
    goal = Goal(kind="smallest", target=0.8, cost="flops")
    answer = recommend(SPACE, goal, trials(0.005))
    assert answer is not None
    assert quality(**answer.recommended.widths) > 0.79
    hopeless = Goal(kind="smallest", target=0.99, cost="flops")
    answer = recommend(SPACE, hopeless, trials(0.005))
    assert answer is not None
    assert "No trial is believed to reach the target 0.99" in answer.verdict
