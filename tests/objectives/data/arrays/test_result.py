"""Arrays: what a user's function may return, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from widthwise.objectives.data.arrays.result import read_result
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.load import (
    load_data,
    make_dataset,
)
from widthwise.objectives.errors import DataError


def load_result(
    result: Any, name: str = "own.py:data", seed: int = 0, *, own_loss: bool = False
) -> Data:
    raw = read_result(name, result)
    return raw if isinstance(raw, Data) else make_dataset(raw, seed, own_loss=own_loss)


X = np.random.default_rng(0).normal(size=(40, 3))


Y = np.arange(40) % 2


@pytest.mark.parametrize(
    ("result", "sizes"),
    [
        pytest.param((X, Y), (24, 8, 8), id="pair"),
        pytest.param([torch.tensor(X), torch.tensor(Y)], (24, 8, 8), id="tensors"),
        pytest.param((X.tolist(), Y.astype(str).tolist()), (24, 8, 8), id="lists and names"),
        pytest.param((pd.DataFrame(X), pd.Series(Y, name="label")), (24, 8, 8), id="tables"),
        pytest.param({"x": X, "y": Y}, (24, 8, 8), id="mapping of a pair"),
        pytest.param((X[:28], Y[:28], X[28:], Y[28:]), (28, 6, 6), id="two splits"),
        pytest.param((X[:30], Y[:30], X[30:36], Y[30:36], X[36:], Y[36:]), (30, 6, 4), id="three"),
        pytest.param(
            {"x_train": X[:30], "y_train": Y[:30], "x_val": X[30:], "y_val": Y[30:]},
            (30, 5, 5),
            id="mapping of splits",
        ),
    ],
)
def test_a_function_may_return(result: Any, sizes: tuple[int, ...]) -> None:
    data = load_result(result)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert (data.task, data.outputs, data.input_shape) == ("classification", 2, (3,))
    assert data.classes == ("0", "1")
    assert data.train.inputs.dtype == torch.float32


def test_given_splits_keep_their_rows_and_numbers() -> None:
    data = load_result((X[:30], Y[:30], X[30:], Y[30:]))
    torch.testing.assert_close(data.train.inputs, torch.tensor(X[:30], dtype=torch.float32))
    assert data.train.targets.tolist() == Y[:30].tolist()
    held = torch.cat([data.validation.inputs, data.test.inputs])
    expected = torch.tensor(X[30:], dtype=torch.float32)
    torch.testing.assert_close(held.sort(dim=0).values, expected.sort(dim=0).values)
    assert any("no test split was given" in note for note in data.notes)


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param(1e5 + 1e4 * X[:, 0], id="prices"),
        pytest.param((1000 + 10 * X[:, 0]).astype(np.float32), id="float32"),
        pytest.param(1e-6 * X[:, 0], id="small"),
        pytest.param(1e-200 * (3 + X[:, 0]), id="tiny"),
        pytest.param(1e9 + 100 * X[:, 0], id="large"),
        pytest.param(torch.tensor(5000 + 3 * X[:, :1]), id="a column of a tensor"),
        pytest.param(1000 + X * [1.0, 1e6, 1e-3], id="columns of different scales"),
        pytest.param(7e4 + 1e3 * np.stack([X, X], axis=1), id="three axes"),
        pytest.param((np.arange(40) * 1000).tolist(), id="a list of whole numbers"),
    ],
)
def test_a_functions_quantities_are_standardised_for_the_loss_alone(targets: Any) -> None:
    data = load_result((X, targets))
    given = np.asarray(targets, dtype=np.float64)
    assert data.task == "regression"
    assert data.train.targets.shape == (24, *given.shape[1:])
    axis = 0 if given.ndim < 3 else None
    train = data.train.targets.double().numpy()
    np.testing.assert_allclose(train.mean(axis=axis), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=axis), 1, atol=1e-5)
    splits = (data.train, data.validation, data.test)
    units = torch.cat([data.in_target_units(split.targets) for split in splits])
    scale = np.ptp(given, axis=0)
    np.testing.assert_allclose(
        np.sort(units.numpy(), axis=0) / scale, np.sort(given, axis=0) / scale, atol=1e-5, rtol=1e-7
    )
    assert any("standardised by the training rows" in note for note in data.notes)


def test_quantities_beyond_float32_are_named_and_not_called_missing() -> None:
    says = r"target 'y' is beyond ±3.4e\+38 in {} of 40 rows, more than float32 holds"
    with pytest.raises(DataError, match=says.format(40)):
        load_result((X, 1e300 * (1 + X[:, 0] ** 2)))
    some = np.where(np.arange(40) < 3, 1e39, X[:, 0])
    data = load_result((X, some))
    assert len(data.train) + len(data.validation) + len(data.test) == 37
    assert any(re.match(says.format(3), note) for note in data.notes)
    assert not any("beyond" in note for note in load_result((X, 1e38 * X[:, 0] / 10)).notes)


def test_a_loss_of_ones_own_gets_quantities_as_they_are() -> None:
    prices = 1e5 + 1e4 * X[:, 0]
    data = load_result((X, prices), own_loss=True)
    assert data.task == "regression"
    assert float(data.train.targets.min()) > 1e4
    assert data.in_target_units(data.train.targets) is data.train.targets
    assert any("your loss gets target 'y' as it is" in note for note in data.notes)


@pytest.mark.parametrize(
    ("targets", "kind", "dtype"),
    [
        pytest.param(np.arange(40) % 3, "i", torch.int64, id="classes"),
        pytest.param((np.arange(40) % 3).astype(np.uint8), "i", torch.int64, id="small whole"),
        pytest.param(np.where(Y == 0, -1, 1), "i", torch.int64, id="minus and plus one"),
        pytest.param(Y.astype(bool), "b", torch.bool, id="true and false"),
        pytest.param(Y.astype(np.float16), "f", torch.float32, id="half"),
        pytest.param(torch.tensor(Y, dtype=torch.bfloat16), "f", torch.float32, id="bfloat16"),
        pytest.param(Y[:, None].astype(np.float64), "f", torch.float32, id="a column"),
        pytest.param(np.eye(4)[np.arange(40) % 4], "f", torch.float32, id="one-hot"),
        pytest.param(np.arange(40 * 6).reshape(40, 6) % 2, "i", torch.int64, id="labels"),
        pytest.param(np.arange(40 * 12).reshape(40, 3, 4) % 5, "i", torch.int64, id="positions"),
        pytest.param(pd.DataFrame(np.arange(80).reshape(40, 2) % 2), "i", torch.int64, id="table"),
    ],
)
def test_a_loss_of_ones_own_gets_classes_in_their_shape_and_type(
    targets: Any, kind: str, dtype: torch.dtype
) -> None:
    data = load_result((X, targets), own_loss=True)
    given = np.asarray(targets.float() if isinstance(targets, torch.Tensor) else targets)
    assert data.task == "classification"
    assert data.train.targets.dtype == dtype
    splits = (data.train, data.validation, data.test)
    everything = torch.cat([split.targets for split in splits])
    assert everything.shape == given.shape
    expected = np.unique(given, axis=0).tolist() if given.ndim > 1 else np.unique(given).tolist()
    assert torch.unique(everything, dim=0).tolist() == expected
    assert data.class_numbers(data.train.targets).dtype == torch.int64


def test_names_are_numbered_for_every_loss() -> None:
    data = load_result((X, np.array(["no", "yes"])[Y]), own_loss=True)
    assert data.train.targets.dtype == torch.int64
    assert data.classes == ("no", "yes")


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.int64, torch.int64),
        (np.int32, torch.int32),
        (np.int16, torch.int16),
        (np.uint8, torch.uint8),
        (np.bool_, torch.bool),
        (np.float64, torch.float32),
        (np.float16, torch.float32),
        (np.complex64, torch.complex64),
    ],
)
def test_inputs_keep_their_shape_and_kind_of_number(
    given: Any, kept: torch.dtype, convert: Any
) -> None:
    tokens = (np.arange(40 * 32).reshape(40, 32) % 100).astype(given)
    data = load_result((convert(tokens), Y))
    assert data.train.inputs.dtype == kept
    everything = torch.cat([split.inputs for split in (data.train, data.validation, data.test)])
    assert everything.shape == (40, 32)
    expected = tokens.astype(np.complex128).real.sum(axis=1)
    real = everything.real.double() if everything.is_complex() else everything.double()
    assert sorted(real.sum(dim=1).tolist()) == pytest.approx(sorted(expected.tolist()))


def test_samples_that_torch_cannot_share_are_copied() -> None:
    big_endian = X.astype(">f8")
    read_only = X.copy()
    read_only.setflags(write=False)
    for x in (big_endian, read_only, X[::-1], X.astype(np.uint16), X.astype(object)):
        data = load_result((x, Y))
        assert data.train.inputs.shape == (24, 3)


def test_samples_may_be_a_list_of_tensors_or_a_sparse_tensor() -> None:
    rows = [torch.tensor(row) for row in X]
    assert load_result((rows, [torch.tensor(y) for y in Y])).input_shape == (3,)
    assert load_result((torch.tensor(X).to_sparse(), Y)).input_shape == (3,)


def test_several_target_columns_make_several_outputs() -> None:
    data = load_result((X, X[:, :2] * 3.5))
    assert (data.task, data.outputs) == ("regression", 2)
    assert data.train.targets.shape == (24, 2)


PAIRS = ((X[:24], Y[:24]), (X[24:32], Y[24:32]), (X[32:], Y[32:]))


@pytest.mark.parametrize(
    ("result", "sizes"),
    [
        pytest.param(PAIRS, (24, 8, 8), id="three"),
        pytest.param([list(pair) for pair in PAIRS], (24, 8, 8), id="lists"),
        pytest.param(PAIRS[:2], (24, 4, 4), id="two, as Keras gives them"),
        pytest.param(
            dict(zip(("train", "val", "test"), PAIRS, strict=True)), (24, 8, 8), id="dict"
        ),
        pytest.param({"training": PAIRS[0], "validation": PAIRS[1]}, (24, 4, 4), id="dict of two"),
        pytest.param(
            tuple((pd.DataFrame(x), pd.Series(y)) for x, y in PAIRS), (24, 8, 8), id="tables"
        ),
        pytest.param(
            tuple((torch.tensor(x), torch.tensor(y)) for x, y in PAIRS), (24, 8, 8), id="tensors"
        ),
    ],
)
def test_a_function_may_return_pairs(result: Any, sizes: tuple[int, ...]) -> None:
    data = load_result(result)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert data.train.targets.tolist() == Y[:24].tolist()
    if not isinstance(result[0][0] if isinstance(result, tuple) else None, pd.DataFrame):
        expected = torch.tensor(X[:24], dtype=torch.float32)
        torch.testing.assert_close(data.train.inputs, expected)


def test_given_tables_are_encoded_by_the_training_split() -> None:
    cities = pd.DataFrame({"city": ["Ulm", "Bonn"] * 12 + ["Rom"] * 8, "n": np.arange(32.0) ** 1.5})
    data = load_result(((cities[:24], Y[:24]), (cities[24:], Y[24:32])))
    assert len(data.train) == 24
    assert float(data.train.inputs.abs().max()) < 2
    assert float(data.validation.inputs.max()) > float(data.train.inputs.max())


def test_a_targets_own_column_among_the_inputs_is_left_out() -> None:
    table = pd.DataFrame({"a": X[:, 0], "label": Y, "y": X[:, 1]})
    data = load_result((table, table["label"]))
    assert any("left out the inputs' column 'label'" in note for note in data.notes)
    assert data.input_shape == (2,)
    unnamed = load_result((table, Y))
    assert unnamed.input_shape[0] >= 3


def test_tables_may_have_several_target_columns() -> None:
    data = load_result((pd.DataFrame(X), pd.DataFrame(1000 + 5 * X[:, :2])))
    assert (data.task, data.outputs, len(data.target_scale)) == ("regression", 2, 2)


def test_ready_data_is_passed_through() -> None:
    ready = load_data("iris", base=Path(), seed=0)
    assert load_result(ready) is ready


def test_a_table_from_a_function_is_prepared_like_a_file() -> None:
    table = pd.DataFrame({"city": ["Ulm", "Bonn"] * 20, "size": np.arange(40.0) ** 2})
    data = load_result((table, Y))
    assert data.input_shape == (3,)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: None, "returned None", id="none"),
        pytest.param(lambda: (X, Y, X), "a tuple of 3", id="three"),
        pytest.param(lambda: {"x_train": X}, "a mapping of x_train", id="half a mapping"),
        pytest.param(lambda: (X, Y[:30]), "40 rows of inputs and 30 targets", id="lengths"),
        pytest.param(lambda: (pd.DataFrame(X), Y[:30]), "and 30 targets", id="table lengths"),
        pytest.param(lambda: (X[:10], Y[:10]), "at least 20", id="few rows"),
        pytest.param(lambda: (X, Y * 0), "one class only", id="one class"),
        pytest.param(lambda: (X * np.nan, Y), "120 missing or infinite", id="nan"),
        pytest.param(lambda: (X, X[:, 0] / 0), "missing or infinite", id="infinite targets"),
        pytest.param(lambda: ([["a"]] * 40, Y), "no array of numbers", id="text"),
        pytest.param(lambda: (3.0, Y), "a single number", id="scalar"),
        pytest.param(lambda: (X, 3.0), "a single value", id="scalar target"),
        pytest.param(lambda: (X[:30], Y[:30], X[30:, :2], Y[30:]), "shapes", id="shapes"),
        pytest.param(lambda: (row for row in X), "returned a generator", id="generator"),
        pytest.param(lambda: None, "data sets or loaders of torch", id="loaders named"),
        pytest.param(lambda: ((row for row in X), Y), "a generator of type object", id="lazy x"),
        pytest.param(lambda: (X, (y for y in Y)), "returned a generator as targets", id="lazy y"),
        pytest.param(lambda: (np.empty((0, 3)), np.empty(0)), "0 rows", id="empty"),
        pytest.param(lambda: (np.empty((40, 0)), Y), "hold no number", id="no features"),
        pytest.param(lambda: (X, np.empty((40, 0))), "targets of shape (40, 0)", id="no targets"),
        pytest.param(lambda: ([[1.0], [1.0, 2.0]] * 20, Y), "inhomogeneous", id="ragged x"),
        pytest.param(lambda: (X, [[1.0], [1.0, 2.0]] * 20), "several lengths", id="ragged y"),
        pytest.param(lambda: (np.ma.masked_less(X, 0), Y), "are masked", id="masked"),
        pytest.param(lambda: (torch.ones(40, 3, device="meta"), Y), "no array", id="no memory"),
        pytest.param(lambda: (X, np.full((40, 2), np.nan)), "missing or infinite", id="nan matrix"),
        pytest.param(
            lambda: ((X[:24], Y[:24]), (X[24:], np.eye(2)[Y[24:]])), "targets of shapes", id="ranks"
        ),
        pytest.param(lambda: (PAIRS[0], PAIRS[1], (X, Y, X)), "a tuple of 3", id="not all pairs"),
        pytest.param(lambda: {"train": PAIRS[0], "dev": PAIRS[1]}, "train, dev", id="other names"),
        pytest.param(
            lambda: ((pd.DataFrame(X[:24]), Y[:24]), (X[24:], Y[24:])),
            "tables and arrays",
            id="mix",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_result_that_is_no_data_is_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(DataError) as caught:
        load_result(make())
    assert says in str(caught.value)


def test_rows_without_a_target_are_dropped_with_their_samples() -> None:
    samples = np.arange(40.0)[:, None].repeat(3, axis=1)
    labels = [f"{row + 0.5}" for row in range(40)]
    labels[7] = "unknown"
    data = load_result((samples, labels))
    for split in (data.train, data.validation, data.test):
        units = data.in_target_units(split.targets).float()
        torch.testing.assert_close(split.inputs[:, 0] + 0.5, units)
    assert "dropped 1 row without a target 'y'" in "\n".join(data.notes)


def test_given_splits_lose_their_own_rows_without_a_target() -> None:
    labels = np.array([f"{row + 0.5}" for row in range(40)], dtype=object)
    labels[35] = "unknown"
    parts = (X[:28], labels[:28], X[28:34], labels[28:34], X[34:], labels[34:])
    data = load_result(parts)
    assert (len(data.train), len(data.validation), len(data.test)) == (28, 6, 5)
