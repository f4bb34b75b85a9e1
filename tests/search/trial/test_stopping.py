"""When a search stops itself: on planted surfaces, whose peak is known."""

from collections.abc import Callable, Mapping

import numpy as np
from widthwise.search.goal import Goal, GoalKind
from widthwise.search.sampler.baselines import baselines
from widthwise.search.sampler.history import History
from widthwise.search.sampler.suggest import Suggester
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.stopping import StoppingRule

NOISE = 0.01
MOST = 100
SPACE = Space([Width.range("a", 8, 256, 8), Width.range("b", 8, 256, 8)])

Surface = Callable[[np.ndarray], np.ndarray]
"""From widths [n, 2], as shares of their ranges, to the true metric [n]."""


def flat(shares: np.ndarray) -> np.ndarray:
    return np.full(len(shares), 0.9)


def peaked(shares: np.ndarray) -> np.ndarray:
    """A hill 30 noises high, away from every baseline."""
    return 0.6 + 0.3 * np.exp(-8.0 * ((shares - [0.35, 0.65]) ** 2).sum(axis=1))


def search(
    surface: Surface,
    seed: int,
    *,
    goal: Goal = Goal(kind=GoalKind.BEST),  # noqa: B008
) -> tuple[int, Mapping[str, int]]:
    """Search a surface until the rule is met; return the trainings, and the answer's widths."""

    def cost(rows: np.ndarray) -> dict[str, np.ndarray]:
        amount = rows.prod(axis=1)
        return {"flops": amount, "parameters": amount}

    feasible = FeasibleSet(SPACE, Limits(flops=40_000), cost)
    suggester = Suggester(
        feasible_set=feasible, goal=goal, baselines=baselines(feasible, [16.0, 16.0])
    )
    rule = StoppingRule(suggester=suggester)
    rng = np.random.default_rng(seed)
    rows: list[np.ndarray] = []
    values: list[float] = []
    while len(rows) < MOST:
        past = history(rows, values)
        if len(rows) % 4 == 2 and rule.is_met(past):
            break
        [suggestion] = suggester.suggest_batch(past, np.random.default_rng((seed, len(rows))), 1)
        rows.append(SPACE.as_row(suggestion.widths))
        values.append(float(surface(shares(rows[-1][None, :]))[0] + rng.normal(0.0, NOISE)))
    answer = suggester.best_candidate(history(rows, values))
    assert answer is not None
    return len(rows), answer.widths


def shares(rows: np.ndarray) -> np.ndarray:
    return (rows - 8.0) / 248.0


def history(rows: list[np.ndarray], values: list[float]) -> History:
    none = np.empty((0, 2), dtype=np.int64)
    return History(
        observed=np.array(rows, dtype=np.int64).reshape(-1, 2),
        values=np.array(values),
        pending=none,
        failed=none,
    )


def test_a_flat_surface_is_left_soon():
    trainings = [search(flat, seed)[0] for seed in range(20)]
    assert sum(count <= 30 for count in trainings) >= 19


def test_a_peak_is_found_before_it_is_left():
    answers = [search(peaked, seed) for seed in range(20)]
    regrets = [0.9 - peaked(shares(SPACE.as_row(widths)[None, :]))[0] for _, widths in answers]
    assert sum(regret <= NOISE for regret in regrets) >= 19
    assert all(count < MOST for count, _ in answers)
