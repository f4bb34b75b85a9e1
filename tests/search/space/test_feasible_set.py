"""The feasible set: only feasible candidates come out, whatever the size of the space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from widthwise.search.errors import NothingFeasible
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.neighbourhood import hash_rows
from widthwise.search.space.space import Space, Width

SPACE = Space(tuple(Width.range(f"w{i}", 1, 10) for i in range(3)))
LARGE = Space(tuple(Width.range(f"w{i}", 1, 64) for i in range(12)))


def cost(candidates: np.ndarray) -> Mapping[str, np.ndarray]:
    return {"parameters": (candidates[:, :-1] * candidates[:, 1:]).sum(axis=1)}


def test_an_enumerated_set_is_exactly_the_feasible_candidates() -> None:
    feasible = FeasibleSet(SPACE, Limits(parameters=40), cost)
    everything = SPACE.enumerate()
    pool = feasible.candidate_pool(np.random.default_rng(0), everything[:0])
    assert len(pool) == (cost(everything)["parameters"] <= 40).sum()
    assert feasible.feasible_fraction == len(pool) / 1000


@pytest.mark.parametrize("limit", [11, 100, 3000, 12_000])
def test_a_draw_from_a_large_set_is_feasible_and_not_small(limit: int) -> None:
    feasible = FeasibleSet(LARGE, Limits(parameters=limit), cost)
    pool = feasible.candidate_pool(np.random.default_rng(0), LARGE.smallest()[None, :])
    assert (cost(pool)["parameters"] <= limit).all()
    assert len(np.unique(pool, axis=0)) == len(pool)
    assert len(pool) > 50 or limit == 11


def test_nothing_feasible_is_said_with_the_nearest() -> None:
    with pytest.raises(NothingFeasible, match="w0=1"):
        FeasibleSet(LARGE, Limits(parameters=10), cost)


def test_a_list_holds_its_feasible_rows_and_no_others() -> None:
    rows = np.array([[1, 1, 1], [5, 5, 5], [10, 10, 10], [1, 1, 1]])
    feasible = FeasibleSet.from_candidates(SPACE, Limits(parameters=60), cost, rows)
    pool = feasible.candidate_pool(np.random.default_rng(0), rows[:0])
    assert pool.tolist() == [[1, 1, 1], [5, 5, 5]]
    assert feasible.is_feasible(np.array([[5, 5, 5], [2, 2, 2]])).tolist() == [True, False]


def test_cached_costs_equal_computed_ones() -> None:
    feasible = FeasibleSet(SPACE, Limits(parameters=40), cost)
    pool = feasible.candidate_pool(np.random.default_rng(0), SPACE.smallest()[None, :])
    for _ in range(2):
        assert (feasible.encode(pool) == SPACE.encode(pool)).all()
        assert (feasible.row_hashes(pool) == hash_rows(pool)).all()
        assert (feasible.evaluate_costs(pool)["parameters"] == cost(pool)["parameters"]).all()


def test_costs_that_are_revised_are_asked_for_again() -> None:
    """What a candidate's own trace taught is true of the whole set from the next draw on."""
    space = Space([Width.range("a", 1, 9)])
    revised = {"by": 0}

    def costs(candidates: np.ndarray) -> dict[str, np.ndarray]:
        return {"parameters": candidates[:, 0] + revised["by"]}

    limits = Limits(parameters=5)
    feasible = FeasibleSet(
        space, limits, costs, revision=lambda: revised["by"], admits=lambda row: row[0] != 4
    )
    rng = np.random.default_rng(0)
    assert feasible.candidate_pool(rng, space.smallest()[None, :])[:, 0].tolist() == [1, 2, 3, 4, 5]
    revised["by"] = 2
    assert feasible.candidate_pool(rng, space.smallest()[None, :])[:, 0].tolist() == [1, 2, 3]
    assert feasible.feasible_fraction == 3 / 9
    assert [feasible.confirms(np.array([width])) for width in (3, 4)] == [True, False]
