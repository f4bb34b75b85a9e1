"""Files: the suffix says how one is read, whatever holds the same rows gives the same data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from widthwise.objectives.data.files.data_file import is_data_file, read_file
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.sources import (
    LABEL,
    NUMBER,
    ROWS,
    assert_refused,
    load_file,
    save,
    write_bytes,
)


def test_csv_and_parquet_agree(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "b": np.arange(ROWS) % 5, "t": LABEL[::-1], "label": LABEL})
    data = [
        load_file(save(tmp_path, name, table), "label", 0)
        for name in ("r.csv", "r.parquet", "R.CSV")
    ]
    for other in data[1:]:
        torch.testing.assert_close(data[0].train.inputs, other.train.inputs)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "gone.csv", "there is no file")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "is a folder")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert_refused(write_bytes(tmp_path / "a.xlsx", b"1"), "ends in '.xlsx'")


def test_a_corrupt_parquet_file_is_refused(tmp_path: Path) -> None:
    assert_refused(write_bytes(tmp_path / "a.parquet", b"PAR1x"), "as Parquet")


def test_a_table_has_no_images(tmp_path: Path) -> None:
    path = save(tmp_path, "rows.csv", pd.DataFrame({"a": NUMBER, "label": LABEL}))
    with pytest.raises(DataError, match=r"images \(channels, height, width\) are asked for"):
        read_file(path, "label", image=True)


@pytest.mark.parametrize(
    "name", ["r.tsv", "r.txt", "iris.data", "r.csv.gz", "r.tab.xz", "r.CSV.ZIP"]
)
def test_text_is_known_by_its_name(name: str, tmp_path: Path) -> None:
    assert is_data_file(name)
    lines = "".join(f"{number}\t{label}\n" for number, label in zip(NUMBER, LABEL, strict=True))
    data = load_file(write_bytes(tmp_path / name, f"a\tlabel\n{lines}".encode()), "label")
    assert data.classes == ("no", "yes")


@pytest.mark.parametrize("name", ["model.py:load", "digits", "r.parquet.gz", "r.xlsx", "rows"])
def test_what_is_no_data_file_by_its_name(name: str) -> None:
    assert not is_data_file(name)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_a_pipe_is_refused_and_not_waited_for(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"rows{suffix}")
    assert_refused(tmp_path / f"rows{suffix}", "is a pipe")
