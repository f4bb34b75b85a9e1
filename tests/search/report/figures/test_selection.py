"""Which of many trials are shown."""

from __future__ import annotations

import pytest
from widthwise.search.report.figures.selection import spread_selection


@pytest.mark.parametrize("count", [1, 2, 10])
def test_few_are_all_shown(count: int) -> None:
    assert spread_selection(count, 10).tolist() == list(range(count))


@pytest.mark.parametrize("count", [11, 12, 100, 10_000])
def test_many_are_the_best_and_a_spread_to_the_worst(count: int) -> None:
    chosen = spread_selection(count, 10).tolist()
    assert len({*chosen}) == len(chosen) == 10
    assert chosen == sorted(chosen)
    assert chosen[:5] == [0, 1, 2, 3, 4]
    assert chosen[-1] == count - 1


def test_the_example() -> None:
    assert spread_selection(1000, 10).tolist() == [0, 1, 2, 3, 4, 204, 403, 601, 800, 999]
