"""The partition of a data set's rows into training, validation and test: 60 / 20 / 20.

Classes are spread over the splits in proportion (stratified), and a class of at least three rows
is in every split. A class of one or two rows cannot be: its rows go to the training split, so that
the network keeps an output for it, and a note tells the user that validation and test do not cover
it.
Rejected: refusing the file (one rare label would block thousands of good rows), and dropping the
class (the recommended network would have fewer outputs than the user's).

Cross-validation deals the training and validation rows out into folds. The draws are our own, not
scikit-learn's splitters (`StratifiedShuffleSplit`, `StratifiedKFold`): other draws would put other
rows into the splits of studies made before.

Entry points: `split_rows` and `split_as_given` make a `Partition`; `make_folds` makes folds;
`take_share` keeps a share of the training rows, `share_rows` counts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .columns.reading import cut_list
from .dataset import Data, Split, Task

Indices = NDArray[np.int64]

HELD_OUT_FRACTION = 0.2
"""Share of the rows in the validation split, and again in the test split."""

MIN_ROWS_FOR_ALL_SPLITS = 3
"""Rows that a class needs to appear in all three splits."""

MIN_ROWS_FOR_ONE_FOLD = 2_000
"""Training and validation rows from which one validation split tells candidates apart: a fifth of
fewer has an accuracy that is uncertain by more than 2 points (sqrt(0.8 x 0.2 / 400))."""

DEFAULT_FOLDS = 5
"""Folds of data with fewer."""

MIN_ROWS_FOR_ONE_REPEAT = 300
"""Training and validation rows from which the folds are dealt out once: with fewer, which rows
stand together and which seed a network had moves a candidate's value more than its widths do
(docs/proxy.md has the figures)."""

DEFAULT_REPEATS = 3
"""Times that the folds of data with fewer are dealt out."""


SPLIT_KEYS = (("train", "training"), ("val", "valid", "validation"), ("test",))
"""Names that each split may have in a mapping of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """Row numbers of the three splits; together every row once.

    Attributes:
        train: Rows of the training split.
        validation: Rows of the validation split.
        test: Rows of the test split.
        notes: Sentences for the user on how the rows were divided.
    """

    train: Indices
    validation: Indices
    test: Indices
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[Indices, Indices, Indices]:
        """Training, validation, test."""
        return self.train, self.validation, self.test


def split_rows(values: NDArray[Any], classes: Sequence[str] | None, seed: int) -> Partition:
    """Divide rows: stratified for classes, at random for quantities.

    Args:
        values: Class number or quantities of each row.
        classes: Class names; None for quantities.
        seed: The same seed gives the same partition.
    """
    if classes is None:
        return shuffled_partition(len(values), seed)
    return replace(stratified_partition(values, seed), notes=_rare_class_notes(values, classes))


def split_as_given(sizes: Sequence[int], seed: int) -> Partition:
    """Return the partition of rows that the source has divided, split after split.

    Args:
        sizes: Rows of the training, validation and test split; without the third, half of the
            validation rows become the test split.
        seed: Of the draw of that half.
    """
    train, held_out = np.split(np.arange(sum(sizes)), [sizes[0]])
    if len(sizes) == 2:
        shuffled = np.random.default_rng(seed).permutation(held_out)
        validation, test = np.split(shuffled, [(len(shuffled) + 1) // 2])
        note = "no test split was given: half of the validation rows are kept for it"
        return Partition(train=train, validation=validation, test=test, notes=(note,))
    validation, test = np.split(held_out, [sizes[1]])
    return Partition(train=train, validation=validation, test=test)


def stratified_partition(labels: NDArray[np.int64], seed: int) -> Partition:
    """Spread each class over the splits in proportion.

    Args:
        labels: Class number of each row.
        seed: The same seed gives the same partition.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    cut_classes = [_cut_rows(rng.permutation(rows)) for rows in np.split(order, starts[1:])]
    train, validation, test = (
        rng.permutation(np.concatenate(parts)) for parts in zip(*cut_classes, strict=True)
    )
    return Partition(train=train, validation=validation, test=test)


def shuffled_partition(rows: int, seed: int) -> Partition:
    """Cut shuffled rows into the splits, for targets that are quantities."""
    train, validation, test = _cut_rows(np.random.default_rng(seed).permutation(rows))
    return Partition(train=train, validation=validation, test=test)


def _cut_rows(rows: NDArray[Any]) -> tuple[Indices, Indices, Indices]:
    held_out = (
        max(1, round(HELD_OUT_FRACTION * len(rows))) if len(rows) >= MIN_ROWS_FOR_ALL_SPLITS else 0
    )
    return rows[2 * held_out :], rows[:held_out], rows[held_out : 2 * held_out]


def _rare_class_notes(labels: NDArray[np.int64], classes: Sequence[str]) -> tuple[str, ...]:
    """Return which classes have too few rows for every split, if any."""
    counts = np.bincount(labels, minlength=len(classes))
    rare_classes = [
        f"'{classes[index]}' ({counts[index]})"
        for index in np.flatnonzero(counts < MIN_ROWS_FOR_ALL_SPLITS).tolist()
    ]
    if not rare_classes:
        return ()
    return (
        f"classes with fewer than {MIN_ROWS_FOR_ALL_SPLITS} rows are in the training split only, "
        f"validation and test cannot speak for them: {cut_list(rare_classes)}",
    )


def check_folds(data: Data, folds: int) -> None:
    """Check that there are as many training and validation rows as folds.

    Raises:
        DataError: There are fewer.
    """
    rows = _rows_for_folds(data)
    if folds > rows:
        raise DataError(
            f"{data.name}: {folds} folds need as many rows, and there are {rows}: "
            "ask for fewer folds."
        )


def default_folds(data: Data) -> int:
    """Return the folds for data of which nobody says: several where few rows validate."""
    few_rows = _rows_for_folds(data) < MIN_ROWS_FOR_ONE_FOLD
    return DEFAULT_FOLDS if few_rows and data.drawn_at_random else 1


def default_repeats(data: Data, folds: int) -> int:
    """Return how often folds are dealt out where nobody says: several times for very few rows."""
    return DEFAULT_REPEATS if folds > 1 and _rows_for_folds(data) < MIN_ROWS_FOR_ONE_REPEAT else 1


def max_train_rows(data: Data, folds: int) -> int:
    """Return the training rows of the largest fold."""
    rows = _rows_for_folds(data)
    return len(data.train) if folds == 1 else rows - rows // folds


def make_folds(data: Data, folds: int, repeats: int = 1, seed: int = 0) -> list[Data]:
    """Return the data of every fold, repeat after repeat; the data itself for one fold.

    Classes are spread evenly over the folds. The test split stays as it is.

    Args:
        data: The splits.
        folds: How many.
        repeats: How often all rows are dealt out, each time by another draw; 1 for one fold.
        seed: Of the first draw; the others have the seeds that follow.

    Raises:
        DataError: There are fewer rows than folds.
    """
    if folds == 1:
        return [data]
    check_folds(data, folds)
    inputs = torch.cat([data.train.inputs, data.validation.inputs])
    targets = torch.cat([data.train.targets, data.validation.targets])
    by_class = data.task == Task.CLASSIFICATION and targets.ndim == 1
    draws = [
        _assign_folds(targets, folds, seed + repeat, by_class=by_class) for repeat in range(repeats)
    ]
    return [
        replace(
            data,
            train=Split(inputs=inputs[fold_of_row != fold], targets=targets[fold_of_row != fold]),
            validation=Split(
                inputs=inputs[fold_of_row == fold], targets=targets[fold_of_row == fold]
            ),
        )
        for fold_of_row in draws
        for fold in range(folds)
    ]


def take_share(data: Data, share: float, seed: int = 0) -> Data:
    """Return the data with a share of its training rows; itself for all of them.

    The draws are nested: the rows of a quarter are among those of a half, so that a learning curve
    compares more rows with fewer of the same. Classes keep their proportions. Validation and test
    rows stay.

    Args:
        data: The splits.
        share: Above 0, at most 1.
        seed: Of the draw.
    """
    if share >= 1:
        return data
    inputs, targets = data.train.inputs, data.train.targets
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    if data.task == Task.CLASSIFICATION and targets.ndim == 1:
        # The i-th of a class of n rows comes at (i + 1/2) / n: every beginning of this order has
        # each class in proportion, to a row.
        _, numbers = torch.unique(targets[order].cpu(), return_inverse=True)
        by_class = torch.argsort(numbers, stable=True)
        counts = torch.bincount(numbers)
        ranks = torch.arange(len(order)) - (counts.cumsum(0) - counts)[numbers[by_class]]
        position = torch.empty(len(order), dtype=torch.float64)
        position[by_class] = (ranks.double() + 0.5) / counts[numbers[by_class]]
        order = order[torch.argsort(position, stable=True)]
    # In the order of the rows, as the whole split has them.
    rows = order[: share_rows(len(order), share)].sort().values.to(targets.device)
    return replace(data, train=Split(inputs=inputs[rows], targets=targets[rows]))


def join_validation(data: Data) -> Data:
    """Return the data with the validation rows among the training rows, and validating as well."""
    inputs = torch.cat([data.train.inputs, data.validation.inputs])
    targets = torch.cat([data.train.targets, data.validation.targets])
    return replace(data, train=Split(inputs=inputs, targets=targets))


def share_rows(rows: int, share: float) -> int:
    """Return how many rows a share of so many is: two at least, where there are two."""
    return rows if share >= 1 else max(min(rows, 2), round(share * rows))


def _rows_for_folds(data: Data) -> int:
    return len(data.train) + len(data.validation)


def _assign_folds(targets: Tensor, folds: int, seed: int, *, by_class: bool) -> Tensor:
    """Return the fold of every row: shuffled, and dealt out in turn, class by class."""
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    if by_class:
        order = order[torch.argsort(targets[order].cpu(), stable=True)]
    fold = torch.empty(len(targets), dtype=torch.int64)
    fold[order] = torch.arange(len(targets)) % folds
    return fold.to(targets.device)
