"""Row numbers: columns that tell a row's place in the file are dropped and said, others stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from widthwise.objectives.data.files.data_file import read_file
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.data.row_numbers import row_naming
from widthwise.objectives.data.table import read_table
from widthwise.tests.objectives.data.sources import joined_notes, load_file, save, write_bytes

ROWS = 120
RNG = np.random.default_rng(11)
COUNT = np.arange(ROWS)
SHUFFLED = RNG.permutation(ROWS)
FILTERED = np.sort(RNG.choice(3 * ROWS, ROWS, replace=False))
JOINED = np.concatenate([np.arange(60), np.arange(60)])
FEATURE = RNG.normal(size=ROWS).round(3)
LABEL = np.repeat(["no", "yes"], ROWS // 2)

NUMBERED = {
    "unnamed": ("", COUNT),
    "unnamed by pandas, from 1": ("Unnamed: 0", COUNT + 1),
    "unnamed, shuffled": ("Unnamed: 0", SHUFFLED),
    "unnamed, filtered": ("Unnamed: 0", FILTERED),
    "unnamed, filtered and shuffled": ("", RNG.permutation(FILTERED)),
    "unnamed, joined": ("Unnamed: 0", JOINED),
    "unnamed, joined and shuffled": ("Unnamed: 0", RNG.permutation(JOINED)),
    "of Parquet": ("__index_level_0__", SHUFFLED),
    "of readr": ("...1", COUNT),
    "of R": ("X", SHUFFLED + 7),
    "rownames": ("rownames", FILTERED),
    "row names": ("Row.Names", COUNT + 1_000),
    "index": ("index", SHUFFLED),
    "index, joined": ("Index", JOINED),
    "index, joined and shuffled": ("index", RNG.permutation(JOINED)),
    "id": ("ID", RNG.permutation(FILTERED)),
    "floats": ("Unnamed: 0", SHUFFLED.astype(float)),
    "text": ("", SHUFFLED.astype(str)),
    "text of floats": ("index", np.array([f"{k}.0" for k in SHUFFLED])),
    "text with zeros": ("no", np.array([f"{k:04}" for k in COUNT])),
    "a number, filtered and shuffled": ("Number", RNG.permutation(FILTERED)),
    "numero": ("N°", FILTERED),
    "some lost": ("Unnamed: 0", np.where(COUNT % 20 == 3, np.nan, COUNT)),
    "another name, counting": ("participant", COUNT + 1),
    "another name, shuffled": ("participant", SHUFFLED + 100),
    "another name, backwards": ("participant", COUNT[::-1]),
    "another name, few left out": ("participant", np.delete(np.arange(150), np.arange(5, 150, 5))),
}


@pytest.mark.parametrize("case", NUMBERED)
def test_a_column_that_numbers_the_rows_is_recognised(case: str) -> None:
    name, values = NUMBERED[case]
    assert row_naming(name, pd.Series(values)) == "only number the rows"


IDENTIFIED = {
    "customer_id": RNG.permutation(10**6)[:ROWS],
    "PassengerId": COUNT + 1,
    "userid": np.array([f"u{k * 7919 % 1000:03}" for k in COUNT]),
    "UUID": np.array([f"{k:032x}" for k in RNG.permutation(ROWS)]),
    "Order ID": np.array([f"CA-2016-{k}" for k in COUNT]),
    "id_patient": FILTERED * 13,
    "tweet_id": RNG.permutation(ROWS) + 2**60,
}


@pytest.mark.parametrize("name", IDENTIFIED)
def test_a_column_that_identifies_the_rows_is_recognised(name: str) -> None:
    assert row_naming(name, pd.Series(IDENTIFIED[name])) == "only identify the rows"


KEPT = {
    "Year": np.arange(1890, 1890 + ROWS),
    "season": np.arange(1890, 1890 + ROWS),
    "age": np.arange(ROWS),
    "price": np.arange(100, 100 + ROWS),
    "time": COUNT,
    "week": JOINED,
    "voltage": np.arange(ROWS) * 2,
    "pressure": np.arange(300, 300 + ROWS),
    "trial": JOINED,
    "slot": JOINED,  # of a day, say
    "n_rooms": np.arange(0, 5 * ROWS, 5),
    "income": np.sort(RNG.choice(10**5, ROWS, replace=False)),
    "population": RNG.permutation(10**6)[:ROWS],
    "paid": RNG.permutation(10**6)[:ROWS],
    "acid": RNG.permutation(10**4)[:ROWS],
    "group id": COUNT % 7,
    "subject": np.repeat(np.arange(ROWS // 4), 4),
    "Unnamed: 3": RNG.integers(0, 5, ROWS),
    "index": RNG.normal(size=ROWS),
    "X": RNG.integers(0, 50, ROWS),
    "name": np.array([f"person {k}" for k in COUNT]),
    "flag": COUNT % 2 == 0,
    "date": pd.date_range("2020-01-01", periods=ROWS),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_column_that_says_something_stays(name: str) -> None:
    assert row_naming(name, pd.Series(KEPT[name])) is None


def write(folder: Path, table: pd.DataFrame, suffix: str) -> Path:
    if suffix == ".npz":
        path, name = folder / "rows.npz", str(table.columns[0])
        np.savez(path, a=table["a"], label=LABEL, **{name: table.iloc[:, 0]})
        return path
    return save(folder, f"rows{suffix}", table)


def planted(name: str, numbers: Any) -> pd.DataFrame:
    """A table sorted by its label, with a column that numbers its rows."""
    return pd.DataFrame({name: numbers, "a": FEATURE, "label": LABEL})


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
@pytest.mark.parametrize("case", ["unnamed", "index", "id", "another name, shuffled"])
def test_the_data_are_those_without_the_row_numbers(case: str, suffix: str, tmp_path: Path) -> None:
    name, numbers = NUMBERED[case]
    if suffix == ".npz" and name == "":
        name = "index"
    with_numbers = load_file(write(tmp_path, planted(name, numbers), suffix), "label")
    without = load_file(save(tmp_path, "plain.csv", planted("n", 0).drop(columns="n")), "label")
    assert torch.allclose(with_numbers.train.inputs, without.train.inputs)
    assert "dropped columns that only number the rows" in joined_notes(with_numbers)


@pytest.mark.parametrize("missing", [[5], [0, 119], list(range(0, 120, 9))])
def test_a_target_that_is_missing_does_not_hide_the_row_numbers(
    missing: list[int], tmp_path: Path
) -> None:
    table = planted("", COUNT)
    table.loc[missing, "label"] = None
    data = load_file(save(tmp_path, "rows.csv", table), "label")
    assert data.input_shape == (1,)
    assert "number the rows: 'Unnamed: 0'" in joined_notes(data)


def test_the_row_numbers_of_joined_files_are_dropped(tmp_path: Path) -> None:
    text = planted("", COUNT).iloc[::2].to_csv(index=False)
    data = load_file(write_bytes(tmp_path / "rows.csv", (text + text).encode()), "label")
    assert data.input_shape == (1,)


def test_the_target_itself_may_count(tmp_path: Path) -> None:
    raw = read_table("rows", pd.DataFrame({"a": FEATURE, "id": SHUFFLED}), "id")
    assert make_dataset(raw, seed=0).task == "regression"


def test_what_only_names_the_rows_is_said(tmp_path: Path) -> None:
    table = planted("PassengerId", COUNT + 1)
    raw = read_file(save(tmp_path, "rows.csv", table), "label")
    assert "only identify the rows: 'PassengerId'" in joined_notes(make_dataset(raw, seed=0))
