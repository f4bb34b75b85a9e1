"""The partition of a data set's rows into training, validation and test: 60 / 20 / 20.

Classes are spread over the splits in proportion (stratified), and a class of at least three rows
is in every split. A class of one or two rows cannot be: its rows go to the training split, so that
the network keeps an output for it, and a note says that validation and test cannot speak for it.
Rejected: refusing the file (one rare label would block thousands of good rows), and dropping the
class (the recommended network would have fewer outputs than the user's).

Entry points: `stratified`, `shuffled`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

HELD_OUT = 0.2
"""Share of the rows in the validation split, and again in the test split."""

EVERY_SPLIT = 3
"""Rows that a class needs to appear in all three splits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """Row numbers of the three splits, each in random order; together every row once."""

    train: Indices
    validation: Indices
    test: Indices

    @property
    def parts(self) -> tuple[Indices, Indices, Indices]:
        """Training, validation, test."""
        return self.train, self.validation, self.test


def stratified(labels: NDArray[np.int64], seed: int) -> Partition:
    """Spread each class over the splits in proportion.

    Args:
        labels: Class number of each row.
        seed: The same seed gives the same partition.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    cut = [_cut(rng.permutation(rows)) for rows in np.split(order, starts[1:])]
    train, validation, test = (
        rng.permutation(np.concatenate(parts)) for parts in zip(*cut, strict=True)
    )
    return Partition(train=train, validation=validation, test=test)


def shuffled(rows: int, seed: int) -> Partition:
    """Cut shuffled rows into the splits, for targets that are quantities."""
    train, validation, test = _cut(np.random.default_rng(seed).permutation(rows))
    return Partition(train=train, validation=validation, test=test)


def _cut(rows: NDArray[Any]) -> tuple[Indices, Indices, Indices]:
    held = max(1, round(HELD_OUT * len(rows))) if len(rows) >= EVERY_SPLIT else 0
    return rows[2 * held :], rows[:held], rows[held : 2 * held]
