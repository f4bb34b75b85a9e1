"""Parquet: types are the file's own; a named index is a column, another is dropped and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from widthwise.objectives.data.files.parquet_file import read_parquet
from widthwise.objectives.errors import DataError

TABLE = pd.DataFrame({"a": [1.5, 2.5, 3.5], "label": ["x", "y", "x"]})


def write(folder: Path, table: pd.DataFrame) -> Path:
    table.to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def test_the_default_index_is_nothing(tmp_path: Path) -> None:
    table, notes = read_parquet(write(tmp_path, TABLE))
    pd.testing.assert_frame_equal(table, TABLE)
    assert notes == ()


@pytest.mark.parametrize("index", [[7, 3, 5], ["r1", "r2", "r3"], [0, 2, 1]])
def test_an_index_without_a_name_is_dropped_and_said(index: list[object], tmp_path: Path) -> None:
    table, notes = read_parquet(write(tmp_path, TABLE.set_axis(index)))
    assert list(table) == ["a", "label"]
    assert "dropped the index" in notes[0]


def test_an_index_with_a_name_is_a_column(tmp_path: Path) -> None:
    table, notes = read_parquet(write(tmp_path, TABLE.set_axis(pd.Index([5, 6, 7], name="city"))))
    assert (list(table), table["city"].tolist(), notes) == (["city", "a", "label"], [5, 6, 7], ())


def test_each_level_of_an_index_is_taken_by_itself(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_arrays([[1, 2, 3], [4, 5, 6]], names=["day", None])
    table, notes = read_parquet(write(tmp_path, TABLE.set_axis(index)))
    assert (list(table), len(notes)) == (["day", "a", "label"], 1)


def damage(content: bytes, case: str) -> bytes:
    if case == "zeroed":
        return content[:-300] + bytes(200) + content[-100:]
    return {"cut short": content[:-30], "text": b"a,label\n1,x\n", "empty": b""}[case]


@pytest.mark.parametrize("case", ["cut short", "zeroed", "text", "empty"])
def test_a_damaged_file_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    path = write(tmp_path, pd.DataFrame({"a": np.arange(500.0)}))
    path.write_bytes(damage(path.read_bytes(), case))
    with pytest.raises(DataError, match=r"cannot be read as Parquet \(.+\): save it anew\.$"):
        read_parquet(path)
