"""Descriptions: every column with what it is taken as and what becomes of it, untrained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from widthwise.objectives.data.describe import FileDescription, describe_file, format_kind
from widthwise.objectives.data.read_options import ReadOptions
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.sources import (
    LABEL,
    NUMBER,
    ROWS,
    archive,
    load_file,
    save,
    write_bytes,
)

COLUMNS: dict[str, Any] = {
    "": range(ROWS),
    "n": NUMBER,
    "gaps": [None if k % 7 == 0 else k * k % 31 for k in range(ROWS)],
    "odd": ["?" if k % 10 == 0 else f"{k * k % 31}" for k in range(ROWS)],
    "day": pd.date_range("2024-02-27", periods=ROWS, freq="36h"),
    "t": ["a", "b", "c", "d"] * (ROWS // 4),
    "same": 1,
    "free": [f"text {k}" for k in range(ROWS)],
    "label": LABEL,
}


def outcomes(description: FileDescription) -> dict[str, tuple[str, int, int]]:
    return {one.name: (one.kind, one.gaps, one.features) for one in description.columns}


@pytest.mark.parametrize("target", ["label", None])
def test_each_column_is_described(target: str | None, tmp_path: Path) -> None:
    path = save(tmp_path, "rows.csv", pd.DataFrame(COLUMNS))
    description = describe_file(path, target)
    expected = {
        "Unnamed: 0": ("number", 0, 0),
        "n": ("number", 0, 1),
        "gaps": ("number", 9, 2),
        "odd": ("number", 6, 2),
        "day": ("date", 0, 4),
        "t": ("text", 0, 4),
        "same": ("number", 0, 0),
        "free": ("text", 0, 0),
        "label": ("text", 0, 0 if target else 2),
    }
    assert outcomes(description) == expected
    by_name = {one.name: one for one in description.columns}
    assert "number the rows" in by_name["Unnamed: 0"].outcome
    assert "constant" in by_name["same"].outcome
    assert "nearly unique" in by_name["free"].outcome
    assert "'?' (6)" in format_kind(by_name["odd"])
    assert set(by_name["t"].examples) < {"a", "b", "c", "d"}
    assert (by_name["t"].distinct, description.rows) == (4, ROWS)


def test_the_features_are_as_many_as_a_study_has(tmp_path: Path) -> None:
    path = save(tmp_path, "rows.csv", pd.DataFrame(COLUMNS))
    description = describe_file(path, "label")
    assert sum(one.features for one in description.columns) == load_file(path, "label").features


def test_the_layout_of_the_file_is_told(tmp_path: Path) -> None:
    lines = "".join(f"{k};{LABEL[k]}ö\n" for k in range(ROWS))
    path = write_bytes(tmp_path / "rows.csv", f"größe;label\n{lines}".encode("latin-1"))
    assert describe_file(path).layout == {
        "kind": "text",
        "encoding": "Latin-1",
        "separator": "semicolons",
        "column names": "the first line",
    }


def test_the_target_is_described_with_its_rows(tmp_path: Path) -> None:
    path = save(tmp_path, "rows.csv", pd.DataFrame({"a": NUMBER, "label": LABEL}))
    description = describe_file(path, "label")
    assert description.task == "classification"
    assert any("'no' (30), 'yes' (30)" in note for note in description.target_notes)


@pytest.mark.parametrize("values", [["0", "1"], ["True", "False"], ["2020", "2021", "2022"]])
def test_words_that_are_classes_are_no_gaps(values: list[str], tmp_path: Path) -> None:
    label = [(["None", *values] * ROWS)[row] for row in range(ROWS)]
    path = save(tmp_path, "rows.csv", pd.DataFrame({"a": NUMBER, "label": ["", *label[1:]]}))
    column = describe_file(path, "label").columns[1]
    assert (column.kind, column.gaps, column.missing_words) == ("text", 1, {})
    assert column.distinct == len(values) + 1
    assert describe_file(path).columns[1].gaps > ROWS // 5


@pytest.mark.parametrize(
    ("columns", "target", "says"),
    [
        ({"a": NUMBER, "label": "x"}, "label", "one class only"),
        ({"a": NUMBER, "label": [f"w{k}" for k in range(ROWS)]}, "label", "names rather"),
        ({"id": range(ROWS), "label": LABEL}, "label", "no column to learn from"),
    ],
)
def test_columns_are_described_though_nothing_can_be_trained(
    columns: dict[str, Any], target: str, says: str, tmp_path: Path
) -> None:
    description = describe_file(save(tmp_path, "rows.csv", pd.DataFrame(columns)), target)
    assert len(description.columns) == 2
    assert says in str(description.problem)


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, "rows.csv", pd.DataFrame({"a": NUMBER, "label": LABEL}))
    with pytest.raises(DataError, match="no column 'lable'"):
        describe_file(path, "lable")


def test_what_the_user_says_counts(tmp_path: Path) -> None:
    path = save(tmp_path, "rows.csv", pd.DataFrame({"a": ["x", "none"] * 30, "label": LABEL}))
    options = ReadOptions(missing=("none",), header=False)
    description = describe_file(path, "column2", options=options)
    assert description.rows == ROWS + 1
    assert outcomes(description)["column1"][1] == ROWS // 2


@pytest.mark.parametrize("target", ["y", None])
def test_the_columns_of_an_archive(target: str | None, tmp_path: Path) -> None:
    path = archive(tmp_path, x=np.column_stack([NUMBER, NUMBER**2]), y=LABEL)
    assert [one.name for one in describe_file(path, target).columns] == ["x0", "x1", "y"]


def test_samples_in_one_array_are_described_as_one(tmp_path: Path) -> None:
    path = archive(tmp_path, x=np.zeros((ROWS, 1, 4, 4)), y=LABEL)
    (column,) = describe_file(path, "y").columns
    assert (column.kind, column.features) == ("array (1, 4, 4) of float64", 16)


def test_columns_with_types_of_their_own(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"b": [True, None] * 30, "d": COLUMNS["day"], "l": [[1]] * ROWS, "label": LABEL}
    )
    described = outcomes(describe_file(save(tmp_path, "rows.parquet", table), "label"))
    assert described["d"] == ("date", 0, 4)
    assert described["l"][2] == 0
