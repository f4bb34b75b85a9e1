"""What might tell candidates of one kind from those of another, where no question was recorded.

A builder that turns its widths into plain numbers (`int(…)`, numpy) is seen to make other
structures, but not why. The usual reasons are tried: equal widths, one special width, a multiple,
a threshold, one width above another. A reason that tells all kinds seen apart is taken.

Where the structure is the same and only sizes differ, `polynomial_questions` looks for the reason
with which the number of parameters is a polynomial of the widths again.

Entry points: `separating_questions`, `polynomial_questions`.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from ...trace.cuda_allocator import Integers
from ..polynomials.lattice import basis_values, monomial_exponents
from .expression import Question

MAX_QUESTIONS = 4
"""Reasons that may be needed together."""

MAX_REMAINDERS = 8
"""Different remainders of a division that may each be a part of the space."""

_MODULI = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 100, 128, 192, 256)


def separating_questions(
    rows: Integers, labels: Sequence[int], groups: Integers
) -> list[Question] | None:
    """Return questions whose answers tell all labels apart, None where no usual ones do.

    Args:
        rows: Candidates [n, d].
        labels: Of what kind each is.
        groups: What tells them apart already, [n]: small numbers.
    """
    kinds = np.unique(np.asarray(labels), return_inverse=True)[1]
    library = list(_library(rows))
    answers = [question.evaluate(rows) for question in library]
    chosen: list[Question] = []
    while _impurity(groups, kinds):
        if len(chosen) == MAX_QUESTIONS:
            return None
        scores = [_impurity(groups * 2 + answer, kinds) for answer in answers]
        best = int(np.argmin(scores)) if scores else -1
        if best < 0 or scores[best] >= _impurity(groups, kinds):
            return None
        chosen.append(library[best])
        groups = groups * 2 + answers[best]
    return chosen


def polynomial_questions(
    rows: Integers, values: Integers, groups: Integers
) -> list[Question] | None:
    """Return a question within whose answers values are polynomials of degree 2; None without one.

    Args:
        rows: Candidates [n, d].
        values: Of them, [n].
        groups: Within which the values should have been polynomials, [n].
    """
    best, best_score = None, _misfits(rows, values, groups)
    for question in (*_library(rows), *_remainders(rows)):
        answers = question.evaluate(rows)
        score = _misfits(rows, values, groups * (int(answers.max(initial=0)) + 1) + answers)
        if score < best_score:
            best, best_score = question, score
    return None if best is None else [best]


def _misfits(rows: Integers, values: Integers, groups: Integers) -> int:
    """Return how many rows lie in groups whose values are no polynomial, or too few to tell."""
    basis = basis_values(rows, monomial_exponents(rows.shape[1], 2), np.float64).T
    basis = basis / np.maximum(np.abs(basis).max(axis=0), 1)
    wrong = 0
    for group in np.unique(groups):
        members = groups == group
        left, right = basis[members], values[members].astype(np.float64)
        solution, _, rank, _ = np.linalg.lstsq(left, right, rcond=1e-10)
        error = np.abs(left @ solution - right).max(initial=0)
        if len(right) <= rank or error > 1e-6 * max(np.abs(right).max(initial=0), 1):
            wrong += len(right)
    return wrong


def _remainders(rows: Integers) -> Iterator[Question]:
    """Yield divisions that leave few different remainders, the fewest first."""
    for modulus in _MODULI:
        for column in range(rows.shape[1]):
            if 2 < len(np.unique(rows[:, column] % modulus)) <= MAX_REMAINDERS:
                yield Question("%", ("width", column), ("const", modulus))


def _impurity(groups: Integers, kinds: Integers) -> int:
    """Return how many rows are not of the commonest kind of their group."""
    wrong = 0
    for group in np.unique(groups):
        counts = np.bincount(kinds[groups == group])
        wrong += int(counts.sum() - counts.max())
    return wrong


def _library(rows: Integers) -> Iterator[Question]:
    """Yield usual reasons, the likelier ones first."""
    columns = range(rows.shape[1])
    for first, second in combinations(columns, 2):
        yield Question("==", ("width", first), ("width", second))
    for column in columns:
        width = ("width", column)
        for modulus in _MODULI:
            yield Question("==", ("%", width, ("const", modulus)), ("const", 0))
        yield Question("==", ("&", width, ("-", width, ("const", 1))), ("const", 0))
        values = np.unique(rows[:, column]).tolist()
        for value in values[:-1]:
            yield Question("<=", width, ("const", value))
        for value in values:
            yield Question("==", width, ("const", value))
    for first, second in combinations(columns, 2):
        yield Question("<", ("width", first), ("width", second))
        yield Question("<", ("width", second), ("width", first))
