"""The largest network that fits: exact, in few counts, refused where nothing fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.search.errors import SpecError
from widthwise.search.rules.largest import find_largest, largest_that_fits, training_memory

from .asked import ask

MEMORY = 64 * 2**20


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ({}, 1),
        ({"task": "image", "inputs": "3x16x16", "layers": 2}, 1),
        ({"task": "language", "inputs": "16", "layers": 1, "vocabulary": 100}, 64),
    ],
    ids=str,
)
def test_it_fits_and_the_next_does_not(change: dict[str, Any], step: int) -> None:
    inquiry = ask(**change, memory=MEMORY)
    width = largest_that_fits(inquiry).high
    assert training_memory(inquiry, width) <= MEMORY < training_memory(inquiry, width + step)


def test_less_than_anything_takes() -> None:
    with pytest.raises(SpecError, match="less than the smallest network takes"):
        largest_that_fits(ask(memory=1000))


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=300), st.integers(1, 400_000))
def test_it_is_the_largest_of_any_rising_curve(rises: list[int], memory: int) -> None:
    sizes = [sum(rises[: count + 1]) for count in range(len(rises))]
    fitting = [multiple for multiple, size in enumerate(sizes, start=1) if size <= memory]
    if len(fitting) == len(sizes):
        memory = sizes[-1] - 1
        fitting = [multiple for multiple, size in enumerate(sizes, start=1) if size <= memory]
    width, used = find_largest(lambda multiple: sizes[multiple - 1], memory, len(sizes))
    assert width == max(fitting, default=0)
    assert used == sizes[max(width, 1) - 1]


def test_a_parabola_takes_few_counts() -> None:
    counted = []

    def memory_of(multiple: int) -> int:
        counted.append(multiple)
        return 16 * multiple**2 + 5000 * multiple + 10**6

    width, _ = find_largest(memory_of, 16 * 10**9, 10**6)
    assert memory_of(width) <= 16 * 10**9 < memory_of(width + 1)
    assert len(counted) < 10
