"""Splits: every row in one, classes in proportion; folds: every row validates once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.data.split import (
    MIN_ROWS_FOR_ALL_SPLITS,
    check_folds,
    default_repeats,
    make_folds,
    max_train_rows,
    share_rows,
    shuffled_partition,
    stratified_partition,
    take_share,
)
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.sources import (
    LABEL,
    NUMBER,
    joined_notes,
    load,
)


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_one_split_and_every_class_in_proportion(
    counts: list[int], seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    partition = stratified_partition(labels, seed)
    assert sorted(np.concatenate(partition.splits)) == list(range(len(labels)))
    again = stratified_partition(labels, seed)
    assert all(map(np.array_equal, partition.splits, again.splits))
    for number, count in enumerate(counts):
        train, validation, test = (int((labels[part] == number).sum()) for part in partition.splits)
        if count < MIN_ROWS_FOR_ALL_SPLITS:
            assert (train, validation, test) == (count, 0, 0)
        else:
            assert validation == test >= 1
            assert train >= 1
            assert abs(validation - 0.2 * count) <= 0.5 or validation == 1


def test_quantities_are_cut_60_20_20() -> None:
    assert [len(part) for part in shuffled_partition(1000, seed=0).splits] == [600, 200, 200]
    assert not np.array_equal(
        shuffled_partition(1000, seed=0).train, shuffled_partition(1000, seed=1).train
    )


def test_a_rare_class_is_kept_for_training_and_noted(tmp_path: Path) -> None:
    label = LABEL.astype(object)
    label[:2] = "perhaps"
    data = load(tmp_path, a=NUMBER, label=label)
    rare = data.classes.index("perhaps") if data.classes else -1
    assert data.outputs == 3
    assert int((data.train.targets == rare).sum()) == 2
    assert not (data.validation.targets == rare).any()
    assert "'perhaps' (2)" in joined_notes(data)


def test_a_class_of_three_rows_is_in_every_split(tmp_path: Path) -> None:
    label = LABEL.astype(object)
    label[:3] = "perhaps"
    data = load(tmp_path, a=NUMBER, label=label)
    for split in (data.train, data.validation, data.test):
        assert set(split.targets.tolist()) == {0, 1, 2}


def numbered(targets: Tensor, validation: int, task: Any = "classification") -> Data:
    """Data whose only feature is the number of the row."""
    rows = torch.arange(len(targets), dtype=torch.float32)[:, None]
    cut = len(targets) - validation
    return Data(
        name="numbered",
        task=task,
        train=Split(inputs=rows[:cut], targets=targets[:cut]),
        validation=Split(inputs=rows[cut:], targets=targets[cut:]),
        test=Split(inputs=rows[:2], targets=targets[:2]),
        outputs=4,
    )


DATA = st.lists(st.integers(0, 3), min_size=8, max_size=60).map(
    lambda classes: numbered(torch.tensor(classes), max(1, len(classes) // 4))
)


@settings(deadline=None, max_examples=50)
@given(data=DATA, folds=st.integers(2, 8))
def test_every_row_validates_once_and_trains_otherwise(data: Data, folds: int) -> None:
    folds_ = make_folds(data, folds)
    everything = list(range(len(data.train) + len(data.validation)))
    validating = [fold.validation.inputs[:, 0].int().tolist() for fold in folds_]
    assert sorted(row for rows in validating for row in rows) == everything
    targets = torch.cat([data.train.targets, data.validation.targets])
    for fold, validation_rows in zip(folds_, validating, strict=True):
        teaching = fold.train.inputs[:, 0].int().tolist()
        assert sorted([*teaching, *validation_rows]) == everything
        assert torch.equal(fold.train.targets, targets[teaching])
        assert fold.test is data.test
    assert max(len(fold.train) for fold in folds_) == max_train_rows(data, folds)


@settings(deadline=None, max_examples=50)
@given(data=DATA, folds=st.integers(2, 8))
def test_classes_and_rows_are_spread_evenly(data: Data, folds: int) -> None:
    folds_ = [fold.validation.targets for fold in make_folds(data, folds)]
    assert max(map(len, folds_)) - min(map(len, folds_)) <= 1
    for index in range(4):
        counts = [int((targets == index).sum()) for targets in folds_]
        assert max(counts) - min(counts) <= 1


@settings(deadline=None, max_examples=20)
@given(data=DATA, folds=st.integers(2, 8), repeats=st.integers(2, 3))
def test_repeats_deal_all_rows_out_anew(data: Data, folds: int, repeats: int) -> None:
    folds_ = make_folds(data, folds, repeats)
    assert len(folds_) == folds * repeats
    everything = list(range(len(data.train) + len(data.validation)))
    draws = [
        [fold.validation.inputs[:, 0].int().tolist() for fold in folds_[start : start + folds]]
        for start in range(0, len(folds_), folds)
    ]
    for draw in draws:
        assert sorted(row for rows in draw for row in rows) == everything
    first = [fold.validation.inputs[:, 0].int().tolist() for fold in make_folds(data, folds)]
    assert draws[0] == first


def test_no_two_repeats_are_the_same_draw() -> None:
    data = numbered(torch.arange(40) % 4, 10)
    draws = make_folds(data, 2, 3)[::2]
    assert len({tuple(sorted(draw.validation.inputs[:, 0].tolist())) for draw in draws}) == 3


@pytest.mark.parametrize(
    ("rows", "folds", "repeats"), [(299, 5, 3), (300, 5, 1), (2_000, 1, 1), (299, 1, 1)]
)
def test_folds_of_few_rows_are_repeated(rows: int, folds: int, repeats: int) -> None:
    assert default_repeats(numbered(torch.zeros(rows), rows // 4), folds) == repeats


def test_one_fold_is_the_data_itself() -> None:
    data = numbered(torch.zeros(10, dtype=torch.int64), 3)
    assert make_folds(data, 1) == [data]
    assert max_train_rows(data, 1) == 7


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (torch.linspace(0, 1, 12), "regression"),
        (torch.linspace(0, 1, 24).view(12, 2), "regression"),
        (torch.arange(24).view(12, 2) % 4, "classification"),
    ],
    ids=["one quantity", "two quantities", "two classes a row"],
)
def test_rows_without_a_single_class_are_dealt_out_in_shuffled_order(
    targets: Tensor, task: str
) -> None:
    folds_ = make_folds(numbered(targets, 3, task), 5)
    assert sorted(len(fold.validation) for fold in folds_) == [2, 2, 2, 3, 3]
    assert folds_[0].validation.inputs[:, 0].tolist() != [0.0, 5.0, 10.0]


def test_folds_repeat_and_leave_the_callers_stream_alone() -> None:
    data = numbered(torch.arange(40) % 4, 10)
    before = torch.get_rng_state()
    first, again = make_folds(data, 3)[0], make_folds(data, 3)[0]
    assert torch.equal(first.validation.inputs, again.validation.inputs)
    assert torch.equal(torch.get_rng_state(), before)


def test_more_folds_than_rows_are_refused() -> None:
    data = replace(numbered(torch.zeros(9, dtype=torch.int64), 3), name="tiny")
    check_folds(data, 9)
    for refused in (check_folds, make_folds):
        with pytest.raises(DataError, match=r"^tiny: 10 folds need as many rows, and there are 9"):
            refused(data, 10)


@settings(deadline=None, max_examples=50)
@given(data=DATA, shares=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2))
def test_a_share_of_the_training_rows_is_nested_and_in_proportion(
    data: Data, shares: list[float]
) -> None:
    small, large = (take_share(data, share) for share in sorted(shares))
    small_rows, large_rows = (
        set(part.train.inputs[:, 0].int().tolist()) for part in (small, large)
    )
    assert small_rows <= large_rows
    for part, share in zip((small, large), sorted(shares), strict=True):
        assert len(part.train) == share_rows(len(data.train), share)
        assert part.validation is data.validation
        assert part.test is data.test
        counts = torch.bincount(data.train.targets, minlength=4)
        taken = torch.bincount(part.train.targets, minlength=4)
        expected = counts * len(part.train) / len(data.train)
        assert float((taken - expected).abs().max()) <= 1.5


def test_a_share_repeats_keeps_rows_with_their_targets_and_all_is_all() -> None:
    data = numbered(torch.linspace(0, 1, 30), 5, "regression")
    assert take_share(data, 1.0) is data
    before = torch.get_rng_state()
    part, again = take_share(data, 0.4), take_share(data, 0.4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(part.train.inputs, again.train.inputs)
    rows = part.train.inputs[:, 0].long()
    assert rows.tolist() == sorted(rows.tolist())
    assert torch.equal(part.train.targets, data.train.targets[rows])
    assert [share_rows(rows, 0.001) for rows in (1, 2, 5000)] == [1, 2, 5]
