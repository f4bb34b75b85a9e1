"""Feature columns: what each one becomes, and that only training rows decide it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from widthwise.objectives.data.features import MAX_CATEGORIES
from widthwise.tests.objectives.data.sources import (
    DAYS,
    LABEL,
    NUMBER,
    ROWS,
    all_inputs,
    assert_refused,
    joined_notes,
    load,
    rows_outside_training,
    save,
)


def test_numbers_are_standardised_by_the_training_rows(tmp_path: Path) -> None:
    data = load(tmp_path, a=1e9 + NUMBER, b=(np.arange(ROWS) * 7) % 11)
    assert data.input_shape == (2,)
    inputs = data.train.inputs
    torch.testing.assert_close(inputs.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=0, correction=0), torch.ones(2), atol=1e-5, rtol=0)


def test_gaps_get_the_median_and_an_indicator(tmp_path: Path) -> None:
    gappy = np.where(np.arange(ROWS) % 3 == 0, np.nan, np.where(np.arange(ROWS) % 2, 1.0, 5.0))
    data = load(tmp_path, a=gappy, b=NUMBER)
    assert data.input_shape == (3,)
    indicator = all_inputs(data)[:, 2]
    assert len(indicator.unique()) == 2
    assert int((indicator == indicator.max()).sum()) == ROWS // 3
    assert torch.isfinite(all_inputs(data)).all()
    assert "filled gaps with the median, and marked them, in: 'a'" in joined_notes(data)


def test_infinite_and_enormous_values_are_gaps(tmp_path: Path) -> None:
    wild = NUMBER.copy()
    wild[[3, 4, 5, 6, 7, 8]] = [np.inf, -np.inf, 1e300, np.inf, np.inf, -1e39]
    data = load(tmp_path, a=wild, b=NUMBER)
    assert torch.isfinite(all_inputs(data)).all()
    assert all_inputs(data).abs().max() < 20
    assert "took infinite values as missing: 'a'" in joined_notes(data)


def test_a_far_outlier_outside_the_training_rows_stays_finite(tmp_path: Path) -> None:
    quiet = 1.0 + 1e-30 * np.arange(ROWS)
    first = load(tmp_path, a=quiet, b=NUMBER)
    assert torch.isfinite(all_inputs(first)).all()
    loud = 1e-20 * NUMBER
    held = np.flatnonzero(~np.isin(NUMBER.astype(np.float32), []))[-1]
    loud[held] = 1e37
    assert torch.isfinite(all_inputs(load(tmp_path, a=loud, b=NUMBER))).all()


def test_odd_text_among_numbers_is_a_gap(tmp_path: Path) -> None:
    texts = NUMBER.astype(str).astype(object)
    texts[2] = "?"
    data = load(tmp_path, a=texts, b=NUMBER)
    assert "took these words as missing: 'a' '?' (1)" in joined_notes(data)
    assert data.features in (2, 3)  # an indicator, if it is in a training row


def test_booleans_become_numbers(tmp_path: Path) -> None:
    flags = np.arange(ROWS) % 3 == 0
    data = load(tmp_path, a=flags)
    assert data.input_shape == (1,)
    assert len(all_inputs(data).unique()) == 2
    gappy = pd.array(np.where(np.arange(ROWS) % 5 == 0, None, flags), dtype="boolean")
    assert load(tmp_path, suffix=".parquet", a=gappy).input_shape == (2,)


def test_text_becomes_one_feature_a_value_and_gaps_are_a_value(tmp_path: Path) -> None:
    cities = np.array(["Ulm", "Bonn", None], dtype=object)[np.arange(ROWS) % 3]
    data = load(tmp_path, a=cities)
    assert data.input_shape == (3,)
    assert torch.equal(all_inputs(data).sum(dim=1), torch.ones(ROWS))
    assert torch.equal(all_inputs(data).sum(dim=0), torch.full((3,), ROWS / 3))


def test_a_category_seen_only_outside_the_training_rows(tmp_path: Path) -> None:
    cities = np.array(["Ulm", "Bonn"], dtype=object)[np.arange(ROWS) // 2 % 2]
    outside = rows_outside_training(tmp_path)
    cities[outside[0]] = "Atlantis"
    data = load(tmp_path, a=cities)
    assert data.input_shape == (2,)
    assert int((all_inputs(data).sum(dim=1) == 0).sum()) == 1


def test_many_categories_are_cut_to_the_commonest(tmp_path: Path) -> None:
    rows = 2000
    words = np.array([f"w{k}" for k in range(200)])[np.arange(rows) % 200]
    label = np.arange(rows) % 2
    data = load(tmp_path, a=words, label=label)
    assert data.features == MAX_CATEGORIES
    assert "commonest" in joined_notes(data)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        pytest.param([1.5] * ROWS, "dropped constant columns", id="constant"),
        pytest.param([None] * ROWS, "dropped constant columns", id="empty"),
        pytest.param(["same"] * ROWS, "dropped constant columns", id="constant text"),
        pytest.param([f"Ms {k}" for k in range(ROWS)], "dropped nearly unique text", id="names"),
        pytest.param(range(1, ROWS + 1), "only number the rows", id="row numbers"),
        pytest.param([[1, 2]] * ROWS, "neither numbers, text nor dates", id="lists", marks=[]),
    ],
)
def test_a_useless_column_is_dropped_and_noted(column: Any, says: str, tmp_path: Path) -> None:
    suffix = ".parquet" if isinstance(column[0], list) else ".csv"
    data = load(tmp_path, suffix=suffix, a=column, b=NUMBER)
    assert data.input_shape == (1,)
    assert f"{says}" in joined_notes(data)
    assert "'a'" in joined_notes(data)


def test_validation_and_test_rows_do_not_touch_the_preparation(tmp_path: Path) -> None:
    outside = rows_outside_training(tmp_path)
    assert len(outside) == 24
    columns: dict[str, NDArray[Any]] = {
        "number": NUMBER,
        "gappy": np.where(np.arange(ROWS) % 4 == 0, np.nan, NUMBER),
        "whole": np.arange(ROWS) % 2 * 1.0,
        "text": np.array(["x", "y", "z"], dtype=object)[np.arange(ROWS) % 3],
        "when": DAYS.strftime("%Y-%m-%d").to_numpy(dtype=object),
        "constant": np.ones(ROWS),
        "name": np.array([f"n{k}" for k in range(ROWS)], dtype=object),
    }
    strange: dict[str, Any] = {
        "number": "?",
        "gappy": 1e6,
        "whole": np.nan,
        "text": "unheard of",
        "when": "1999-01-01",
        "constant": 9.0,
        "name": "n0",
    }
    before = load(tmp_path, **columns)
    changed = {name: np.array(values, dtype=object) for name, values in columns.items()}
    for name, value in strange.items():
        changed[name][outside] = value
    after = load(tmp_path, **changed)
    assert torch.equal(before.train.inputs, after.train.inputs)
    assert torch.equal(before.train.targets, after.train.targets)
    assert not torch.equal(before.validation.inputs, after.validation.inputs)


def test_a_table_without_a_useful_column_is_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1] * ROWS, "label": LABEL})
    assert_refused(save(tmp_path, "rows.csv", table), "no column to learn from")
