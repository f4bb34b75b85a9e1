"""Local search: the beam finds the optimum under a limit, and never what is excluded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from widthwise.search.space.feasible_set import FeasibleSet, no_costs
from widthwise.search.space.limits import Limits
from widthwise.search.space.local_search import beam_search
from widthwise.search.space.neighbourhood import hash_rows
from widthwise.search.space.space import Space, Width

SPACE = Space(tuple(Width.range(f"w{i}", 1, 10) for i in range(3)))


def cost(candidates: np.ndarray) -> Mapping[str, np.ndarray]:
    return {"parameters": (candidates[:, :-1] * candidates[:, 1:]).sum(axis=1)}


@pytest.mark.parametrize("seed", range(5))
def test_beam_search_loses_nothing_measurable_where_all_can_be_scored(seed: int) -> None:
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
