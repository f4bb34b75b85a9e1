"""Candidates worth a look: those where builders commonly do something else.

A `CandidatePool` holds random candidates of a space, its corners, and members of thin parts (equal
widths, one special width) that a random draw would miss. `special_rows` are the few that every fit
must predict; `probe_rows` the many that are only built.

Entry points: `CandidatePool`, `special_rows`, `probe_rows`.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...trace.cuda_allocator import Integers
from ..source import CandidateSpace
from .expression import Question

POOL_SIZE = 4_096
"""Random candidates from which the points to trace are chosen."""

MAX_LISTED = 2**18
"""Largest space that is looked through as a whole for members of thin parts."""

MEMBERS = 64
"""Members of a thin part that are enough to fit and test it."""

_MOVED_ROWS, _MIN_BASES = 2**18, 16
"""Candidates with one width moved that are looked through for members of a thin part."""

MAX_EQUAL = 4
"""Candidates with equal widths that every fit must predict."""

_MODULI = (2, 4, 8, 16, 32, 64, 128, 256)


@final
class CandidatePool:
    """Distinct candidates of a space.

    Attributes:
        rows: The candidates [n, d], in random order.
        corners: The smallest and largest ones [k, d], where the space knows them.
        is_complete: Whether `all_rows` is the whole space.
    """

    def __init__(self, space: CandidateSpace, dimensions: int, rng: np.random.Generator) -> None:
        self._space, self._rng = space, rng
        self.corners = _corners(space, dimensions)
        self.is_complete = space.size <= MAX_LISTED
        drawn = space.sample(POOL_SIZE, rng)
        self.rows = self._shuffled(np.concatenate([drawn, self.corners]))
        self._listed: Integers | None = None

    @property
    def all_rows(self) -> Integers:
        """All candidates that are known, [n, d]."""
        if not self.is_complete:
            return self.rows
        if self._listed is None:
            self._listed = np.asarray(self._space.enumerate(), dtype=np.int64)
        return self._listed

    def enrich(self, questions: Sequence[Question]) -> None:
        """Add members of the parts that these questions make thin."""
        added = [self.rows]
        for question in questions:
            if self.is_complete:
                added.append(self._listed_members(question))
            else:
                added += self._moved_members(question)
        if len(added) > 1:
            self.rows = self._shuffled(np.concatenate(added))

    def _listed_members(self, question: Question) -> Integers:
        answers, known = question.evaluate(self.all_rows), question.evaluate(self.rows)
        kinds, counts = np.unique(answers, return_counts=True)
        chosen = [
            self._rng.permutation(np.flatnonzero(answers == kind))[:MEMBERS]
            for kind in kinds[np.argsort(counts)][:8]
            if (known == kind).sum() < MEMBERS
        ]
        indices = np.concatenate([np.zeros(0, dtype=np.int64), *chosen])
        members: Integers = self.all_rows[indices]
        return members

    def _moved_members(self, question: Question) -> list[Integers]:
        """Return candidates with one width moved to where the answer is a rare one.

        Of each random candidate that is moved, one for each width and rare answer: members of a
        thin part that have nothing else in common.
        """
        known = question.evaluate(self.rows)
        common = np.bincount(known - known.min()).argmax() + known.min()
        members = []
        for columns in _tied_columns(self.rows):
            values = self._values(columns[0])
            bases = self.rows[known == common][: max(_MOVED_ROWS // len(values), _MIN_BASES)]
            rows = np.repeat(bases, len(values), axis=0)
            rows[:, columns] = np.tile(values, len(bases))[:, None]
            answers = question.evaluate(rows)
            for kind in np.unique(answers)[:8]:
                if (known == kind).sum() >= MEMBERS:
                    continue
                hits = self._rng.permutation(np.flatnonzero(answers == kind))
                _, first = np.unique(hits // len(values), return_index=True)
                members.append(rows[hits[first]][:MEMBERS])
        contains = getattr(self._space, "contains_rows", None)
        return members if contains is None else [rows[contains(rows)] for rows in members]

    def _values(self, column: int) -> Integers:
        """Return the values of a width, as far as they are known."""
        widths = getattr(self._space, "widths", None)
        if widths is None:
            return np.unique(self.rows[:, column])
        return np.array(widths[column].values, dtype=np.int64)

    def _shuffled(self, rows: NDArray[Any]) -> Integers:
        return self._rng.permutation(np.unique(np.asarray(rows, dtype=np.int64), axis=0))


def special_rows(pool: CandidatePool) -> Integers:
    """Return candidates [k, d] with as many widths equal as there are, each pair in some of them.

    Beside these the smallest and largest candidates; at least one in all.
    """
    rows = pool.rows
    chosen = [*pool.corners] if len(pool.corners) else [rows[0]]
    pairs = list(combinations(range(rows.shape[1]), 2))
    if pairs:
        equal = np.stack([rows[:, first] == rows[:, second] for first, second in pairs], axis=1)
        open_pairs = equal.any(axis=0) & ~equal.all(axis=0)
        while open_pairs.any() and len(chosen) < len(pool.corners) + MAX_EQUAL:
            best = int(np.argmax((equal & open_pairs).sum(axis=1)))
            chosen.append(rows[best])
            open_pairs &= ~equal[best]
    return np.unique(np.array(chosen, dtype=np.int64).reshape(-1, rows.shape[1]), axis=0)


def probe_rows(pool: CandidatePool, count: int) -> Integers:
    """Return about `count` candidates [n, d], each value of a width in one of them if possible.

    Args:
        pool: Where they are from.
        count: How many; at least the special ones are returned.
    """
    rows = pool.rows
    order = [_row_indices(rows, special_rows(pool))]
    for column in range(rows.shape[1]):
        values, first = np.unique(rows[:, column], return_index=True)
        interest = sum((values % modulus == 0).astype(int) for modulus in _MODULI)
        # The rounder, the more likely that somebody made it special.
        share = max(count // (2 * rows.shape[1]), 4)
        order.append(first[np.argsort(-interest, kind="stable")][: share // 2])
        order.append(first[np.linspace(0, len(first) - 1, share).round().astype(int)])
    order.append(np.arange(len(rows)))
    indices = np.concatenate(order)
    _, first = np.unique(indices, return_index=True)
    return rows[indices[np.sort(first)][:count]]


def _row_indices(rows: Integers, wanted: Integers) -> Integers:
    return np.array(
        [int(np.flatnonzero((rows == row).all(axis=1))[0]) for row in wanted], dtype=np.int64
    )


def _tied_columns(rows: Integers) -> list[list[int]]:
    """Return the columns in groups that are equal in every row."""
    groups: list[list[int]] = []
    for column in range(rows.shape[1]):
        for group in groups:
            if (rows[:, group[0]] == rows[:, column]).all():
                group.append(column)
                break
        else:
            groups.append([column])
    return groups


def _corners(space: CandidateSpace, dimensions: int) -> Integers:
    """Return the smallest and largest candidates, where the space has them."""
    corners = [getattr(space, name, lambda: None)() for name in ("smallest", "largest")]
    rows = [
        np.asarray(corner, dtype=np.int64).reshape(-1, dimensions)
        for corner in corners
        if corner is not None
    ]
    return np.unique(np.concatenate([np.zeros((0, dimensions), dtype=np.int64), *rows]), axis=0)
