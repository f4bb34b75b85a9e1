"""Ranges around today's sizes: which values they hold, and whether today's is one of them."""

from __future__ import annotations

import pytest
from widthwise.search.discovery.ranges import search_range


@pytest.mark.parametrize("size", [1, 2, 3, 7, 12, 16, 30, 60, 64, 100, 256, 768, 1000, 4096])
@pytest.mark.parametrize("divisor", [1, 2, 3, 4, 12, 64])
def test_a_range_holds_todays_size_and_multiples_only(size: int, divisor: int) -> None:
    today = size * divisor
    entry = search_range(today, divisor)
    values = range(entry["low"], entry["high"] + 1, entry["step"])
    assert today in values
    assert all(value % divisor == 0 for value in values)
    assert max(values) == 2 * today
    assert min(values) >= min(today, divisor)
    if size >= 4:
        assert today / 4 <= min(values) <= today / 2


@pytest.mark.parametrize(
    ("size", "divisor", "low", "step"),
    [(64, 1, 16, 8), (64, 12, 12, 12), (768, 12, 192, 24), (4096, 1, 1024, 128), (30, 1, 8, 2)],
)
def test_a_step_is_a_multiple_of_eight_where_todays_size_is_one(
    size: int, divisor: int, low: int, step: int
) -> None:
    size = size if size % divisor == 0 else divisor
    entry = search_range(size, divisor)
    assert (entry["low"], entry["step"]) == (low, step)
