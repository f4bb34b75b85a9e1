"""Samples of several arrays in memory: which results are such, and what is made of them."""

from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.streams.sets import read

ROWS = 30
X, Z = np.arange(ROWS * 2.0).reshape(ROWS, 2), np.arange(ROWS)[:, None]
Y = np.repeat([0, 1, 2], ROWS // 3)


@pytest.mark.parametrize(
    ("result", "args", "kwargs", "targets"),
    [
        pytest.param(((X, Z), Y), 2, [], True, id="tuple of inputs"),
        pytest.param(({"a": X, "b": Z}, Y), 0, ["a", "b"], True, id="dict of inputs"),
        pytest.param({"x": {"a": X, "b": Z}, "y": Y}, 0, ["a", "b"], True, id="by name"),
        pytest.param({"ids": Z, "mask": X, "labels": Y}, 0, ["ids", "mask"], True, id="one dict"),
        pytest.param((X, {"kind": Y, "size": Z}), 1, [], True, id="several targets"),
        pytest.param(({"a": X}, {"b": Y, "c": Z}), 0, ["a"], True, id="two dicts"),
        pytest.param(X, 1, [], False, id="array alone"),
        pytest.param((X, None), 1, [], False, id="no targets"),
        pytest.param({"a": X, "b": Z}, 0, ["a", "b"], False, id="dict without targets"),
    ],
)
def test_several_arrays_are_divided_and_batched(
    result: Any, args: int, kwargs: list[str], targets: bool
) -> None:
    data = read(result, batch_size=7)
    assert len(data.example.args) == args
    assert list(data.example.kwargs) == kwargs
    assert (data.example.targets is not None) == targets
    assert [data.train.rows, data.validation.rows] == [18, 6]
    assert data.test is not None
    assert data.test.rows == 6
    assert data.example.rows == 7


@pytest.mark.parametrize(
    "result",
    [
        pytest.param((((X, Z), Y), ((X[:6], Z[:6]), Y[:6])), id="pairs"),
        pytest.param({"train": ((X, Z), Y), "val": ((X[:6], Z[:6]), Y[:6])}, id="by name"),
        pytest.param(({"a": X, "y": Y}, {"a": X[:6], "y": Y[:6]}), id="dicts of equal names"),
        pytest.param({"train": X, "validation": X[:6]}, id="without targets"),
    ],
)
def test_given_splits_stay(result: Any) -> None:
    data = read(result)
    assert [data.train.rows, data.validation.rows] == [ROWS, 6]
    assert data.test is None


def test_rows_stay_together_and_classes_in_proportion() -> None:
    data = read(((torch.tensor(X), Z), Y), batch_size=100)
    for source in (data.train, data.validation):
        (batch,) = source.batches(0, 0)
        first, second = batch.args
        assert torch.equal(first[:, 0], second[:, 0] * 2.0)
        assert torch.equal(batch.targets, second[:, 0] // 10)
        assert first.dtype == torch.float32
        assert torch.bincount(batch.targets).unique().numel() == 1


@pytest.mark.parametrize(
    ("result", "says"),
    [
        pytest.param(({"a": X, "b": Z[:9]}, Y), "arrays of 9 and 30 rows", id="lengths"),
        pytest.param(({"a": X, "b": np.array(["u"] * ROWS)}, Y), "give numbers", id="text"),
        pytest.param(({"a": X * np.nan}, Y), "missing or infinite numbers", id="missing"),
    ],
)
def test_arrays_that_fit_no_batch_are_refused(result: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(result)


def test_a_file_that_is_mapped_is_not_copied(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = read(({"a": mapped}, Y), batch_size=100)
    (batch,) = data.train.batches(0, 0)
    assert batch.kwargs["a"].shape == (18, 2)
