"""Rivals of a recommended candidate: the runner-up, which is no twin of it.

Among thousands of candidates the second best is one lattice step from the best, and to compare the
two tells nothing. So a runner-up is the best that is no twin. Entry points: `runner_up_widths`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...sampler.best_candidate import MAX_REFUSALS
from ...space.feasible_set import stack_rows
from ...space.neighbourhood import hash_rows
from ...space.space import Space
from ...space.width import ABSENT, log_sizes
from .judged_study import JudgedStudy, Widths

TWIN_FACTOR = 1.25
"""Two candidates are twins where every width differs by one lattice step or this factor at most."""


def runner_up_widths(
    study: JudgedStudy, widths: Widths, besides: Iterable[Widths] = ()
) -> Widths | None:
    """Return the best candidate that is no twin of another; None where there is none.

    Args:
        study: With a surrogate.
        widths: The candidate whose runner-up it is.
        besides: Candidates that it is not either, though it may be a twin of theirs.
    """
    pool, row = study.pool, np.asarray(study.space.as_row(widths))
    others = stack_rows([study.space.as_row(other) for other in besides], study.space)
    hashes = hash_rows(pool.rows)
    is_other = ~is_twin(study.space, pool.rows, row) & ~np.isin(hashes, hash_rows(others))
    trained = hash_rows(study.history.observed)
    for _ in range(MAX_REFUSALS):
        if not is_other.any():
            return None
        index = int(np.argmax(np.where(is_other, pool.lower_end, -np.inf)))
        candidate = pool.rows[index]
        # What was trained was counted by its own trace; a forecast of the others has to be, too.
        if np.isin(hashes[index], trained) or study.feasible.confirms(candidate):
            return study.space.as_mapping(candidate)
        is_other[index] = False
    return None


def is_twin(space: Space, rows: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which candidates are twins of one, [n]; it is its own."""
    is_twin = np.ones(len(rows), dtype=bool)
    for column, width in enumerate(space.widths):
        values = np.asarray(width.values)
        steps = np.abs(
            np.searchsorted(values, rows[:, column]) - np.searchsorted(values, row[column])
        )
        octaves = np.abs(log_sizes(rows[:, column]) - log_sizes(row[column]))
        # A network without a layer is no twin of one that has it, however narrow.
        agrees = (rows[:, column] == ABSENT) == (row[column] == ABSENT)
        is_twin &= agrees & ((steps <= 1) | (octaves <= np.log2(TWIN_FACTOR)))
    return is_twin
