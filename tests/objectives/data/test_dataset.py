"""Data sets: splits that fit together, and quantities in their units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.data.load import (
    load_data,
)
from widthwise.objectives.errors import DataError


def split(rows: int, *shape: int) -> Split:
    return Split(inputs=torch.zeros(rows, *shape), targets=torch.zeros(rows))


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        pytest.param((split(4, 2), split(0, 2), split(4, 2)), "validation split is empty", id="0"),
        pytest.param((split(4, 2), split(4, 3), split(4, 2)), r"\(3,\) in the validation", id="3"),
        pytest.param(
            (Split(inputs=torch.zeros(4, 2), targets=torch.zeros(3)), split(4, 2), split(4, 2)),
            "4 rows of inputs and 3 targets",
            id="targets",
        ),
    ],
)
def test_splits_that_do_not_fit_together(splits: tuple[Split, ...], says: str) -> None:
    train, validation, test = splits
    with pytest.raises(DataError, match=says):
        Data(
            name="own", task="regression", train=train, validation=validation, test=test, outputs=1
        )


def test_a_test_split_may_be_missing_from_ready_data() -> None:
    data = Data(
        name="own",
        task="regression",
        train=split(4, 2),
        validation=split(4, 2),
        test=split(0, 2),
        outputs=1,
    )
    assert len(data.test) == 0


def test_a_task_is_one_of_two() -> None:
    with pytest.raises(DataError, match="own: the task is 'ranking': write 'classification' or"):
        Data(
            name="own",
            task="ranking",
            train=split(4),
            validation=split(4),
            test=split(0),
            outputs=1,
        )


def test_quantities_come_back_in_their_units() -> None:
    data = load_data("diabetes", base=Path(), seed=0)
    values = torch.cat([split.targets for split in (data.train, data.validation, data.test)])
    true = torch.tensor(np.sort(load_diabetes().target))
    torch.testing.assert_close(data.in_target_units(values).sort().values, true, atol=1e-4, rtol=0)
