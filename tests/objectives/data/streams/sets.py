"""Data sets and loaders for tests, of the kinds that people have."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
from widthwise.objectives.data.streams.batch import Batch
from widthwise.objectives.data.streams.make_feed import StreamOptions
from widthwise.objectives.data.streams.read import read_batched
from widthwise.objectives.data.streams.source import BatchData, BatchSource


class Numbered(Dataset[Any]):
    """Samples that say their number; `draws` is augmentation by all three global streams."""

    def __init__(self, rows: int, *, draws: bool = False) -> None:
        self.rows, self.draws = rows, draws

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        drawn = [0.0, 0.0, 0.0]
        if self.draws:
            drawn = [random.random(), float(np.random.random()), torch.rand(()).item()]
        return torch.tensor([float(row), *drawn]), row % 3


class Stream(IterableDataset[Any]):
    """A stream of numbered samples, divided among the loader's workers."""

    def __init__(self, rows: int, *, draws: bool = False) -> None:
        self.rows, self.draws = rows, draws

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for row in range(first, self.rows, step):
            drawn = torch.rand(()).item() if self.draws else 0.0
            yield {"x": torch.tensor([float(row), drawn]), "labels": row % 2}


class SizedStream(Stream):
    """A stream that says how many samples it has, rightly or not."""

    def __init__(self, rows: int, says: int | None = None) -> None:
        super().__init__(rows)
        self.says = rows if says is None else says

    def __len__(self) -> int:
        return self.says


class MappedFile(Dataset[Any]):
    """Samples in a file that is mapped when a process first reads one."""

    def __init__(self, path: Path, rows: int, width: int) -> None:
        self.path, self.rows, self.width = path, rows, width

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        bytes_per_row = 4 * self.width
        with self.path.open("rb") as file:
            file.seek(row * bytes_per_row)
            values = np.frombuffer(file.read(bytes_per_row), dtype=np.float32).copy()
        return torch.from_numpy(values), torch.from_numpy(values[:1])


def read(result: Any, seed: int = 0, **options: Any) -> BatchData:
    data = read_batched("own.py:load", result, seed, StreamOptions(**options))
    assert data is not None
    return data


def both(part: Any, **options: Any) -> BatchData:
    """Take the same data for training and validation."""
    return read((part, part), **options)


def loaders(dataset: Any, **options: Any) -> BatchData:
    options.setdefault("batch_size", 4)
    return both(DataLoader(dataset, **options))


def tensors(source: BatchSource, seed: int = 0, epoch: int = 0, **part: Any) -> list[Tensor]:
    """Return the first input of each batch."""
    return [first_input(batch) for batch in source.batches(seed, epoch, **part)]


def numbers(source: BatchSource, seed: int = 0, epoch: int = 0, **part: Any) -> list[list[int]]:
    """Return which samples each batch has."""
    return [tensor[:, 0].int().tolist() for tensor in tensors(source, seed, epoch, **part)]


def first_input(batch: Batch) -> Tensor:
    value = batch.args[0] if batch.args else next(iter(batch.kwargs.values()))
    assert isinstance(value, Tensor)
    return value


def flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]
