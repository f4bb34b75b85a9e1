"""Folds: training and validation rows pooled, and each part validating once.

For small data one validation split is a coin toss; the mean over folds is less of one. Categories,
scales and medians stay as they were learnt from the original training split.

Entry points: `folds_of`; `check_folds` and `most_rows`, before a study starts.
"""

from dataclasses import replace

import torch
from torch import Tensor

from .data import Data, Split
from .errors import DataError


def check_folds(data: Data, folds: int) -> None:
    """Raise DataError where there are fewer training and validation rows than folds."""
    rows = len(data.train) + len(data.validation)
    if folds > rows:
        raise DataError(
            f"{data.name}: {folds} folds need as many rows, and there are {rows}: "
            "ask for fewer folds."
        )


def most_rows(data: Data, folds: int) -> int:
    """Return the training rows of the largest fold."""
    rows = len(data.train) + len(data.validation)
    return len(data.train) if folds == 1 else rows - rows // folds


def folds_of(data: Data, folds: int, seed: int = 0) -> list[Data]:
    """Return the data once for every fold; the data itself for one fold.

    Classes are spread evenly over the folds. The test split stays as it is.

    Args:
        data: The splits.
        folds: How many.
        seed: Of the draw.

    Raises:
        DataError: There are fewer rows than folds.
    """
    if folds == 1:
        return [data]
    check_folds(data, folds)
    inputs = torch.cat([data.train.inputs, data.validation.inputs])
    targets = torch.cat([data.train.targets, data.validation.targets])
    by_class = data.task == "classification" and targets.ndim == 1
    of_row = _assigned(targets, folds, seed, by_class=by_class)
    return [
        replace(
            data,
            train=Split(inputs=inputs[of_row != fold], targets=targets[of_row != fold]),
            validation=Split(inputs=inputs[of_row == fold], targets=targets[of_row == fold]),
        )
        for fold in range(folds)
    ]


def _assigned(targets: Tensor, folds: int, seed: int, *, by_class: bool) -> Tensor:
    """Return the fold of every row: shuffled, and dealt out in turn, class by class."""
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    if by_class:
        order = order[torch.argsort(targets[order].cpu(), stable=True)]
    fold = torch.empty(len(targets), dtype=torch.int64)
    fold[order] = torch.arange(len(targets)) % folds
    return fold.to(targets.device)
