"""One public table: loaded with several targets, and with row numbers planted into it.

What is leaked is judged by two roads that do not go by the rule of the code under test:

- **planted**: the rows are sorted by the target, numbered, and shuffled; some are taken away, one
  loses its target. The features must be equal, number for number, to those of the same rows
  without the column of numbers.
- **R's row names**: `write.csv` of R, which most of the tables come from, writes them first and
  without a name. Where the first column of a file has no name and whole numbers that are all
  different, no feature may come from it.

Entry points: `scan_table`; `scan_job`, for a pool of processes.
"""

import bz2
import csv
import gzip
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import torch
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.files.data_file import read_columns_of, read_file
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.data.row_numbers import drop_row_numbers
from widthwise.objectives.data.table import ValueTable, take_target
from widthwise.objectives.errors import DataError

MAX_TARGETS = 3
"""Columns of a table that are tried as the target."""

MAX_PLANTED_ROWS = 500
"""Rows that row numbers are planted into."""

PLANTED_NAMES = ("", "Unnamed: 0", "index", "rownames", "id")
"""Names of planted row numbers; each goes with another way to hide them."""


_OPENERS: dict[str, Callable[..., TextIO]] = {".gz": gzip.open, ".bz2": bz2.open}


@dataclass(kw_only=True)
class TableScan:
    """What became of a table.

    Attributes:
        loads: Targets that gave data.
        refusals: Sentence for each target that was refused, and for the file itself.
        exceptions: What was raised instead of a sentence, or warned of; it should be none.
        planted: Row numbers that were planted.
        leaks: Columns that number the rows and reached the network, and how that was seen.
        counting: Columns that count on, one number a row, and were kept: for people to judge.
    """

    loads: int = 0
    refusals: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    planted: int = 0
    leaks: list[str] = field(default_factory=list)
    counting: list[str] = field(default_factory=list)


def scan_job(job: tuple[Path, int, Path]) -> TableScan:
    """Load a table in a process of its own; planted variants take turns over the tables.

    Args:
        job: The file, its number, and a folder for all.
    """
    path, number, scratch = job
    folder = scratch / f"planted{number}"
    folder.mkdir()
    return scan_table(path, folder, variants=[number % len(PLANTED_NAMES)])


def scan_table(path: Path, folder: Path, variants: Sequence[int] = (0, 1, 2, 3, 4)) -> TableScan:
    """Load a table in all ways.

    Args:
        path: The file.
        folder: For the tables with planted row numbers.
        variants: Which names and ways of `PLANTED_NAMES` are planted.
    """
    scan = TableScan()
    tables: list[ValueTable] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _attempt(scan, path, lambda: tables.append(read_columns_of(path)))
        if not tables:
            return scan
        table, usable = tables[0], []
        for target in _targets(list(table.values.columns)):
            loaded: list[Data] = []
            _attempt(scan, path, lambda: loaded.append(_train_on(table, target)))  # noqa: B023
            if loaded:
                usable.append(target)
                scan.loads += 1
                if not _is_finite(loaded[0]):
                    scan.exceptions.append(f"{path.name}: numbers that are not finite")
        if usable:
            _attempt(scan, path, lambda: _find_counting(scan, path, table, usable[-1]))
            _attempt(scan, path, lambda: _plant(scan, path, table, usable[-1], folder, variants))
    return scan


def _attempt(scan: TableScan, path: Path, action: Callable[[], object]) -> None:
    try:
        action()
    except DataError as error:
        scan.refusals.append(str(error).replace(str(path), path.name))
    except Exception as error:
        scan.exceptions.append(f"{path.name}: {type(error).__name__}: {error}")


def _targets(columns: list[str]) -> list[str]:
    chosen = np.linspace(0, len(columns) - 1, min(MAX_TARGETS, len(columns))).astype(int)
    return [columns[position] for position in chosen]


def _train_on(table: ValueTable, target: str) -> Data:
    return make_dataset(take_target(table, target), seed=0)


def _is_finite(data: Data) -> bool:
    parts = [
        part
        for split in (data.train, data.validation, data.test)
        for part in (split.inputs, split.targets)
    ]
    return all(bool(torch.isfinite(part).all()) for part in parts)


def _find_counting(scan: TableScan, path: Path, table: ValueTable, target: str) -> None:
    """Look for columns that number the rows, by the text of the file, among those that are kept."""
    kept = set(drop_row_numbers(take_target(table, target)).inputs.columns)
    with _OPENERS.get(path.suffix, open)(
        path, "rt", encoding="utf-8", errors="replace", newline=""
    ) as file:
        separator = "\t" if path.suffix == ".tsv" else ","
        header, *rows = list(csv.reader(file, delimiter=separator))
    for position, name in enumerate(header):
        values = [row[position] for row in rows if len(row) == len(header)]
        if not values or not all(value.strip().isdigit() for value in values):
            continue
        numbers = [int(value) for value in values]
        if len(set(numbers)) < len(numbers):
            continue
        if position == 0 and not name.strip() and "Unnamed: 0" in kept:
            scan.leaks.append(f"{path.name}: the row names of R")
        if max(numbers) - min(numbers) == len(numbers) - 1 and name in kept and len(numbers) > 2:
            scan.counting.append(f"{path.name}: {name} ({min(numbers)} to {max(numbers)})")


def _plant(
    scan: TableScan,
    path: Path,
    table: ValueTable,
    target: str,
    folder: Path,
    variants: Sequence[int],
) -> None:
    """Plant row numbers into the rows, sorted by their target, and compare the features."""
    text = table.source.head(MAX_PLANTED_ROWS)
    text = text[(text != "").any(axis=1)]
    random = np.random.default_rng(len(text))
    rows = text.sort_values(target, kind="stable").reset_index(drop=True)
    for variant in variants:
        name, planted = PLANTED_NAMES[variant], rows.copy()
        while name in planted.columns:
            name = f"{name}_"
        planted.insert(0, name, [str(number + variant % 2) for number in range(len(rows))])
        if variant % 2:
            planted = planted.sample(frac=1.0, random_state=variant)
        if variant > 1:
            planted = planted.drop(index=random.choice(planted.index, len(rows) // 10, False))
        if variant > 2:
            planted.loc[planted.index[0], target] = ""
        with_numbers = _saved(planted, folder / "planted.csv", target)
        without = _saved(planted.drop(columns=[name]), folder / "plain.csv", target)
        if without is None:
            continue
        scan.planted += 1
        same = with_numbers is not None and all(
            a.inputs.shape == b.inputs.shape and torch.allclose(a.inputs, b.inputs)
            for a, b in (
                (with_numbers.train, without.train),
                (with_numbers.validation, without.validation),
            )
        )
        if not same:
            scan.leaks.append(f"{path.name}: planted as '{name}', variant {variant}")


def _saved(table: pd.DataFrame, path: Path, target: str) -> Data | None:
    table.to_csv(path, index=False)
    try:
        return make_dataset(read_file(path, target), seed=0)
    except DataError:
        return None
