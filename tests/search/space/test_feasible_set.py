"""The feasible set: only feasible candidates come out, whatever the size of the space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from widthwise.search.errors import NothingFeasible
from widthwise.search.space.feasible_set import FeasibleSet, no_costs
from widthwise.search.space.limits import Limits
from widthwise.search.space.local_search import beam_search
from widthwise.search.space.neighbourhood import hash_rows, neighbours, swap_moves, unique_rows
from widthwise.search.space.space import Divisible, Order, Space, Tie, Width

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


def test_keys_tell_candidates_apart() -> None:
    everything = SPACE.enumerate()
    assert len(np.unique(hash_rows(everything))) == len(everything)
    assert len(unique_rows(np.vstack([everything, everything]))) == len(everything)


@pytest.mark.parametrize(
    "space",
    [
        pytest.param(SPACE, id="free"),
        pytest.param(Space(SPACE.widths, (Order(("w0", "w1"), "non-increasing"),)), id="order"),
        pytest.param(Space(SPACE.widths, (Tie(("w0", "w2")),)), id="tie"),
        pytest.param(Space(SPACE.widths, (Divisible("w0", by="w1"),)), id="divisible"),
    ],
)
def test_neighbours_stay_in_the_space(space: Space) -> None:
    rng = np.random.default_rng(0)
    start = space.sample(5, rng)
    for moved in (neighbours(space, start), swap_moves(space, start, rng, 16)):
        assert space.contains_rows(moved).all()
    assert len(neighbours(space, start)) > 0


def test_a_step_changes_one_width_and_a_trade_two() -> None:
    start = np.array([[5, 5, 5]])
    assert sorted(np.abs(neighbours(SPACE, start) - start).sum(axis=1).tolist()) == [1] * 6
    traded = swap_moves(SPACE, start, np.random.default_rng(0), 64)
    assert ((traded - start).sum(axis=1) == 0).all()
    assert len(traded) == 6


@pytest.mark.parametrize("seed", range(5))
def test_beam_search_loses_nothing_measurable_where_all_can_be_judged(seed: int) -> None:
    # A ridge along the limit: single steps alone get stuck on it.
    rng = np.random.default_rng(seed)
    space = Space(tuple(Width.range(f"w{i}", 1, 8) for i in range(5)))
    feasible = FeasibleSet(space, Limits(parameters=60), cost)
    weights, peak = rng.uniform(0.5, 2, 5), rng.uniform(0.4, 1.0, 5)

    def score(candidates: np.ndarray) -> np.ndarray:
        return -(weights * (space.encode(candidates) - peak) ** 2).sum(axis=1)

    everything = feasible.candidate_pool(rng, space.smallest()[None, :])
    best = score(everything).max()
    starts = everything[rng.integers(len(everything), size=6)]
    reached = beam_search(feasible, score, starts, rng)
    assert feasible.is_feasible(reached[None, :])[0]
    spread = score(everything).std()
    assert best - score(reached[None, :])[0] < 0.02 * spread


def test_beam_search_never_ends_at_an_excluded_candidate() -> None:
    feasible = FeasibleSet(SPACE, Limits(), no_costs)
    excluded = hash_rows(np.array([[10, 10, 10]]))
    reached = beam_search(
        feasible,
        lambda rows: rows.sum(axis=1).astype(float),
        np.array([[5, 5, 5]]),
        np.random.default_rng(0),
        excluded,
    )
    assert reached.sum() == 29
