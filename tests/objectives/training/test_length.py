"""Default lengths are counted in steps, whatever an epoch has."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.objectives.training.length import training_length


@pytest.mark.parametrize(
    ("rows", "batch_size", "expected"),
    [
        (64, 64, (3000, 200, 300, 10, 5)),  # 1 step an epoch
        (206, 64, (750, 50, 75, 2, 6)),  # 4 steps
        (1_079, 64, (177, 12, 18, 1, 3)),  # 17 steps
        (100_000, 64, (20, 3, 1, 1, 1)),  # 1,563 steps
    ],
)
def test_what_rows_and_batch_make_of_the_default_length(
    rows: int, batch_size: int, expected: tuple[int, ...]
) -> None:
    assert training_length(rows, batch_size) == expected


@given(rows=st.integers(1, 10**7), batch_size=st.integers(1, 4096))
def test_every_training_has_the_steps_it_needs(rows: int, batch_size: int) -> None:
    length, steps = training_length(rows, batch_size), math.ceil(rows / batch_size)
    assert length.epochs * steps >= 3_000
    assert length.min_epochs * steps >= 300
    assert length.patience * steps >= 200
    assert length.validate_every == 1 or length.validate_every * steps <= 15
    assert length.validate_every <= length.patience <= length.epochs
    assert length.epochs <= 20 or (length.epochs - 1) * steps < 3_000


@given(rows=st.integers(1, 10**6), epochs=st.integers(1, 500), patience=st.integers(0, 50))
def test_what_the_user_sets_stays_as_it_is(rows: int, epochs: int, patience: int) -> None:
    length = training_length(rows, 64, epochs=epochs, patience=patience)
    assert (length.epochs, length.patience, length.validate_every) == (epochs, patience, 1)
    assert length.min_epochs <= epochs
