"""Arrays: what a user's function may return, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from widthwise.objectives.data.arrays import read_result
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.load import (
    load_data,
    make_dataset,
)
from widthwise.objectives.errors import DataError


def load_result(result: Any, name: str = "own.py:data", seed: int = 0) -> Data:
    raw = read_result(name, result)
    return raw if isinstance(raw, Data) else make_dataset(raw, seed)


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


def test_a_functions_quantities_are_not_standardised() -> None:
    prices = 1e5 + 1e4 * X[:, 0]
    data = load_result((X, prices))
    assert data.task == "regression"
    assert float(data.train.targets.min()) > 1e4
    assert data.in_target_units(data.train.targets) is data.train.targets


def test_token_ids_stay_whole_numbers() -> None:
    tokens = torch.arange(40).reshape(40, 1).expand(40, 5)
    assert load_result((tokens, Y)).train.inputs.dtype == torch.int64


def test_several_target_columns_make_several_outputs() -> None:
    data = load_result((X, X[:, :2] * 3.5))
    assert (data.task, data.outputs) == ("regression", 2)
    assert data.train.targets.shape == (24, 2)


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
        torch.testing.assert_close(split.inputs[:, 0] + 0.5, split.targets)
    assert "dropped 1 rows without a target 'y'" in "\n".join(data.notes)


def test_given_splits_lose_their_own_rows_without_a_target() -> None:
    labels = np.array([f"{row + 0.5}" for row in range(40)], dtype=object)
    labels[35] = "unknown"
    parts = (X[:28], labels[:28], X[28:34], labels[28:34], X[34:], labels[34:])
    data = load_result(parts)
    assert (len(data.train), len(data.validation), len(data.test)) == (28, 6, 5)
