"""The usual reasons: found where candidates differ, and none made up where there is none."""

from collections.abc import Callable

import numpy as np
import pytest
from widthwise.objectives.cost.branches.hypotheses import polynomial_questions, separating_questions

ROWS = np.array(np.meshgrid(range(8, 137, 8), range(16, 145, 8))).reshape(2, -1).T
NO_GROUPS = np.zeros(len(ROWS), dtype=np.int64)

REASONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "equal widths": lambda a, b: a == b,
    "one width": lambda _a, b: b == 104,
    "multiple": lambda a, _b: a % 32 == 0,
    "threshold": lambda a, _b: a > 96,
    "power of two": lambda a, _b: a & (a - 1) == 0,
    "one above the other": lambda a, b: a > b,
    "two reasons": lambda a, b: (a == b) + 2 * (b > 64),
}


@pytest.mark.parametrize("reason", REASONS)
def test_kinds_are_told_apart(reason: str) -> None:
    labels = REASONS[reason](*ROWS.T).astype(int)
    questions = separating_questions(ROWS, labels.tolist(), NO_GROUPS)
    assert questions is not None
    answers = np.stack([question.evaluate(ROWS) for question in questions], axis=1)
    _, groups = np.unique(answers, axis=0, return_inverse=True)
    assert all(len(set(labels[groups == group])) == 1 for group in groups)


def test_no_reason_is_made_up() -> None:
    labels = np.random.default_rng(0).integers(2, size=len(ROWS))
    assert separating_questions(ROWS, labels.tolist(), NO_GROUPS) is None


@pytest.mark.parametrize(
    "size",
    [
        lambda a, b: a * b + a * (a // 24),
        lambda a, b: a * b + np.where(b > 64, a * a, a),
        lambda a, b: np.where(a == b, a, a * b),
    ],
    ids=["remainders", "threshold", "equal widths"],
)
def test_sizes_become_polynomials_again(size: Callable[..., np.ndarray]) -> None:
    questions = polynomial_questions(ROWS, size(*ROWS.T), NO_GROUPS)
    assert questions is not None


def test_sizes_that_are_polynomials_need_no_reason() -> None:
    assert polynomial_questions(ROWS, ROWS[:, 0] * ROWS[:, 1] + 3, NO_GROUPS) is None
