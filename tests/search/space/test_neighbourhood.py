"""Neighbourhoods: steps and swaps that stay in the space, hashes that tell candidates apart."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.search.space.neighbourhood import hash_rows, neighbours, swap_moves, unique_rows
from widthwise.search.space.space import Divisible, Order, Space, Tie, Width

SPACE = Space(tuple(Width.range(f"w{i}", 1, 10) for i in range(3)))


def test_hashes_tell_candidates_apart() -> None:
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


def test_a_step_changes_one_width_and_a_swap_two() -> None:
    start = np.array([[5, 5, 5]])
    assert sorted(np.abs(neighbours(SPACE, start) - start).sum(axis=1).tolist()) == [1] * 6
    swapped = swap_moves(SPACE, start, np.random.default_rng(0), 64)
    assert ((swapped - start).sum(axis=1) == 0).all()
    assert len(swapped) == 6
