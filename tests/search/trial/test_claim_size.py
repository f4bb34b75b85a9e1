"""Claim size: many short trainings are claimed together, long ones and the last ones one by one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.search.problem.engine import MAX_CLAIM_SIZE
from widthwise.search.trial.claim_size import ClaimSizer
from widthwise.tests.search.bench import HarnessFactory


@dataclass
class TrainingTime:
    """What the sizer reads of a result."""

    seconds: float


def fail_if_called() -> int:
    raise AssertionError("counting the open slots was not worth it")


def trained_claim_sizer(seconds: float, **options: int) -> ClaimSizer:
    sizer = ClaimSizer(**options)
    sizer.observe([TrainingTime(seconds / 2), TrainingTime(seconds * 1.5)])  # type: ignore[list-item]
    return sizer


def test_the_first_claim_is_of_one() -> None:
    sizer = ClaimSizer(max_in_memory=fail_if_called)
    assert sizer.claim_size(fail_if_called) == 1


def test_memory_is_asked_for_each_claim_since_workers_come_and_go() -> None:
    parts = iter([6, 3, None])
    sizer = ClaimSizer(fixed=5, max_in_memory=lambda: next(parts))
    assert [sizer.claim_size(fail_if_called) for _ in range(3)] == [5, 3, 5]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.01, MAX_CLAIM_SIZE), (0.3, 4), (0.9, 2), (1.0, 1), (60, 1)]
)
def test_short_trainings_are_claimed_together(seconds: float, expected: int) -> None:
    assert trained_claim_sizer(seconds).claim_size(lambda: 1000) == expected


@pytest.mark.parametrize(
    ("unbound", "expected"), [(1000, 8), (32, 8), (20, 5), (7, 1), (1, 1), (0, 1)]
)
def test_the_last_ones_learn_from_the_others(unbound: int, expected: int) -> None:
    assert trained_claim_sizer(0.001).claim_size(lambda: unbound) == expected


def test_what_the_spec_says_is_claimed() -> None:
    assert trained_claim_sizer(60, fixed=64).claim_size(fail_if_called) == 64


def test_trainings_that_all_failed_teach_nothing() -> None:
    sizer = trained_claim_sizer(0.3)
    sizer.observe([])
    assert sizer.claim_size(lambda: 1000) == 4


@given(
    fixed=st.none() | st.integers(1, 200),
    fits=st.none() | st.integers(0, 50),
    seconds=st.floats(0, 10),
    unbound=st.integers(0, 500),
)
def test_a_claim_is_of_one_or_more_and_fits(
    fixed: int | None, fits: int | None, seconds: float, unbound: int
) -> None:
    sizer = ClaimSizer(fixed=fixed, max_in_memory=lambda: fits)
    sizer.observe([TrainingTime(seconds)])  # type: ignore[list-item]
    size = sizer.claim_size(lambda: unbound)
    assert size >= 1
    assert fits is None or size <= max(1, fits)
    assert size <= (fixed or MAX_CLAIM_SIZE)


@pytest.mark.parametrize(("fits", "size"), [(2, 2), (0, 1), (None, 5)])
def test_memory_bounds_a_claim(new_harness: HarnessFactory, fits: int | None, size: int) -> None:
    study = new_harness(trials=8, at_once=5)
    assert (
        len(
            study.supervisor(
                claim_sizer=ClaimSizer(fixed=5, max_in_memory=lambda: fits)
            ).run_batch()
        )
        == size
    )
