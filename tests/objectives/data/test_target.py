"""Targets: classes or quantities, what is dropped, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.sources import (
    DAYS,
    LABEL,
    NUMBER,
    ROWS,
    all_inputs,
    assert_refused,
    joined_notes,
    load,
    load_file,
    save,
)


@pytest.mark.parametrize(
    ("target", "task", "outputs"),
    [
        pytest.param(
            np.array(["a", "b", "c"])[np.arange(ROWS) % 3], "classification", 3, id="text"
        ),
        pytest.param(np.arange(ROWS) % 2 == 0, "classification", 2, id="true and false"),
        pytest.param(np.arange(ROWS) % 4, "classification", 4, id="few integers"),
        pytest.param((np.arange(ROWS) % 4) * 1.0, "classification", 4, id="few whole floats"),
        pytest.param(NUMBER, "regression", 1, id="fractions"),
        pytest.param(np.arange(ROWS) * 3, "regression", 1, id="many integers"),
        pytest.param(np.arange(ROWS) % 15, "regression", 1, id="integers with four rows each"),
    ],
)
def test_the_task_is_recognised_and_noted(
    target: NDArray[Any], task: str, outputs: int, tmp_path: Path
) -> None:
    data = load(tmp_path, a=NUMBER, label=target)
    assert (data.task, data.outputs) == (task, outputs)
    assert f"target 'label': {task}" in joined_notes(data)


def test_the_task_can_be_given(tmp_path: Path) -> None:
    grades = pd.DataFrame({"a": NUMBER, "grade": np.arange(ROWS) % 6})
    path = save(tmp_path, "rows.csv", grades)
    assert load_file(path, "grade", 0).task == "classification"
    data = load_file(path, "grade", 0, "regression")
    assert (data.task, data.outputs, data.classes) == ("regression", 1, None)


def test_categories_of_a_parquet_file_are_classes(tmp_path: Path) -> None:
    data = load(tmp_path, suffix=".parquet", a=NUMBER, label=pd.Categorical(LABEL))
    assert data.classes == ("no", "yes")


def test_classes_keep_their_numeric_order(tmp_path: Path) -> None:
    assert load(tmp_path, a=NUMBER, label=np.arange(ROWS) % 12).classes == tuple(
        map(str, range(12))
    )


def test_targets_belong_to_their_rows(tmp_path: Path) -> None:
    data = load(tmp_path, a=np.where(LABEL == "yes", 3.5, -3.5))
    for split in (data.train, data.validation, data.test):
        assert torch.equal((split.inputs[:, 0] > 0).long(), split.targets)


def test_a_regression_is_standardised_by_its_training_rows(tmp_path: Path) -> None:
    data = load(tmp_path, a=NUMBER, label=1e6 + 1e4 * NUMBER)
    train = data.train.targets
    assert float(train.mean()) == pytest.approx(0, abs=1e-5)
    assert float(train.std(correction=0)) == pytest.approx(1, abs=1e-5)
    units = data.in_target_units(train)
    assert float(units.min()) >= 1e6 - 4e4
    assert data.target_mean[0] == pytest.approx(float(units.mean()))


def test_the_target_scale_comes_from_the_training_rows(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "y": NUMBER * 2 + 0.5})
    before = load_file(save(tmp_path, "rows.csv", table), "y", seed=0)
    held = before.in_target_units(torch.cat([before.validation.targets, before.test.targets]))
    strange = np.isclose(table["y"].to_numpy()[:, None], held.numpy()[None]).any(axis=1)
    assert 0 < strange.sum() < ROWS
    table.loc[strange, "y"] = 1e5 + np.arange(strange.sum())
    after = load_file(save(tmp_path, "rows.csv", table), "y", seed=0)
    assert after.target_scale == before.target_scale
    assert torch.equal(before.train.targets, after.train.targets)


def test_rows_without_a_target_are_dropped_and_noted(tmp_path: Path) -> None:
    label = np.where(np.arange(ROWS) < 10, None, LABEL)
    data = load(tmp_path, a=NUMBER, label=label)
    assert len(all_inputs(data)) == ROWS - 10
    assert "dropped 10 rows without a target 'label'" in joined_notes(data)


def test_odd_text_among_target_numbers_is_a_missing_target(tmp_path: Path) -> None:
    label = np.where(np.arange(ROWS) == 5, "?", NUMBER.astype(str))
    data = load(tmp_path, a=NUMBER, label=label)
    assert data.task == "regression"
    assert len(all_inputs(data)) == ROWS - 1


def test_text_among_numbers_is_a_class_and_no_gap(tmp_path: Path) -> None:
    label = ["0", "1"] * 96 + ["rare"] * 8
    data = load(tmp_path, x=[0.1 * (k % 7) for k in range(200)], label=label)
    assert data.classes == ("0", "1", "rare")
    assert not any("without a target" in note for note in data.notes)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "few rows": ({"a": NUMBER[:19], "label": LABEL[:19]}, "19 rows with a target 'label'"),
    "no target at all": ({"a": NUMBER, "label": [None] * ROWS}, "0 rows with a target"),
    "one class": ({"a": NUMBER, "label": ["x"] * ROWS}, "one class only, 'x'"),
    "one number": ({"a": NUMBER, "label": [2.5] * ROWS}, "is 2.5 in all 60 rows"),
    "a lone second class": (
        {"a": NUMBER, "label": ["x"] * (ROWS - 2) + ["rare"] * 2},
        "class 'rare' of target 'label' has 2 rows",
    ),
    "names as classes": (
        {"a": NUMBER, "label": [f"n{k}" for k in range(ROWS)]},
        "names rather",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_target_that_cannot_be_predicted_is_refused_in_one_sentence(
    case: str, tmp_path: Path
) -> None:
    columns, says = REFUSED[case]
    assert_refused(save(tmp_path, "rows.csv", pd.DataFrame(columns)), says)


def test_dates_are_no_target(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "label": DAYS})
    assert_refused(save(tmp_path, "a.parquet", table), "holds dates")


def test_text_is_no_quantity(tmp_path: Path) -> None:
    path = save(tmp_path, "rows.csv", pd.DataFrame({"a": NUMBER, "label": LABEL}))
    with pytest.raises(DataError, match=r"holds text \('no', 'yes'\)"):
        load_file(path, "label", 0, "regression")
