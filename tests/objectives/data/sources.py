"""Sources for tests: tables and archives written to files, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.files.data_file import read_file
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.errors import DataError

ROWS = 60
RNG = np.random.default_rng(7)
NUMBER = RNG.normal(size=ROWS).round(3)
LABEL = np.array(["no", "yes"])[np.arange(ROWS) % 2]
DAYS = pd.date_range("2024-02-27", periods=ROWS, freq="36h")


def load_file(
    path: Path, target: str | None, seed: int = 0, task: Any = None, *, image: bool = False
) -> Data:
    return make_dataset(read_file(path, target, image=image), seed, task)


def assert_refused(path: Path, says: str) -> None:
    """Assert that a file with the target "label" is refused in one sentence."""
    with pytest.raises(DataError) as caught:
        load_file(path, "label")
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert message.endswith(".")


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def archive(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "rows.npz", **arrays)
    return folder / "rows.npz"


def save(folder: Path, name: str, table: pd.DataFrame, **options: Any) -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, **options)
    return path


def load(folder: Path, target: str = "label", *, suffix: str = ".csv", **columns: Any) -> Data:
    columns.setdefault("label", LABEL)
    return load_file(save(folder, f"rows{suffix}", pd.DataFrame(columns)), target)


def all_inputs(data: Data) -> torch.Tensor:
    return torch.cat([split.inputs for split in (data.train, data.validation, data.test)])


def joined_notes(data: Data) -> str:
    return "\n".join(data.notes)


def rows_outside_training(folder: Path) -> NDArray[np.int64]:
    """Return the numbers of the rows that LABEL and seed 0 put into validation and test."""
    numbers = np.sqrt(np.arange(1.0, ROWS + 1))
    data = load(folder, n=numbers)
    outside = torch.cat([data.validation.inputs, data.test.inputs])[:, 0]
    ordered = all_inputs(data)[:, 0].sort().values
    return torch.searchsorted(ordered, outside.contiguous()).numpy()
