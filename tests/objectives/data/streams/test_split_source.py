"""Batches that cannot be loaded, or are no batches: a sentence each, wherever it happened."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from widthwise.objectives.data.streams.batch import read_batch
from widthwise.objectives.data.streams.split_source import shape_change
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.streams.sets import Numbered, Stream, both, numbers, read


class Broken(Dataset[Any]):
    """Samples of which those from a number on are what a function makes."""

    def __init__(self, sample: Callable[[int], Any], first: int = 6) -> None:
        self.sample, self.first = sample, first

    def __len__(self) -> int:
        return 12

    def __getitem__(self, row: int) -> Any:
        if row >= self.first:
            return self.sample(row)
        return torch.zeros(3), 0


def raise_value(row: int) -> Any:
    raise ValueError(f"row {row} is broken")


def kill_worker(row: int) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def failing(sample: Callable[[int], Any], where: str = ", batch 2", **loader: Any) -> str:
    """Return the sentence for a validation set that is broken from its second batch on."""
    broken = DataLoader(Broken(sample), batch_size=6, **loader)
    data = read((Numbered(6), broken), batch_size=6)
    with pytest.raises(DataError) as caught:
        numbers(data.validation)
    message = str(caught.value)
    assert message.startswith(f"own.py:load: the validation data{where}: ")
    assert message.endswith(".")
    assert "\n" not in message
    assert multiprocessing.active_children() == []
    return message


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("sample", "says"),
    [
        pytest.param(
            raise_value,
            "loading sample 6 raised ValueError: row 6 is broken (at test_split_source.py line",
            id="exception",
        ),
        pytest.param(lambda _: None, "sample 6 is None: leave such samples out", id="none"),
        pytest.param(lambda row: [][row], "says that it has 12 samples: let __len__", id="length"),
        pytest.param(lambda _: sys.exit(3), "raised SystemExit: 3, as sys.exit does", id="exit"),
        pytest.param(lambda _: ("a", "b"), "without a tensor in it", id="text"),
        pytest.param(
            lambda row: (torch.zeros(row), 0), "its samples make no batch (", id="several shapes"
        ),
        pytest.param(
            lambda _: (torch.zeros(2, 3), 0),
            "its inputs are [2, 3] float32 a sample, those of the first batch were [3] float32",
            id="another axis",
        ),
        pytest.param(
            lambda _: (torch.zeros(3), 0.5),
            "its targets are [] float32 a sample, those of the first batch were [] int64",
            id="another type",
        ),
        pytest.param(
            lambda _: (torch.zeros(3), torch.zeros(3), 0),
            "its inputs are [3] float32, [3]",
            id="another input",
        ),
    ],
)
def test_a_broken_sample_is_said(sample: Callable[[int], Any], says: str, workers: int) -> None:
    assert says in failing(sample, num_workers=workers)


def bad_collate(samples: list[Any]) -> Any:
    if any(sample is None for sample in samples):
        raise RuntimeError("cannot pad None")
    return torch.stack([x for x, _ in samples]), torch.tensor([y for _, y in samples])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_collate_function_that_raises_is_said(workers: int) -> None:
    message = failing(lambda _: None, num_workers=workers, collate_fn=bad_collate)
    assert "the collate function raised RuntimeError: cannot pad None (at test_split" in message


def test_a_worker_that_is_killed_is_said() -> None:
    assert "a loader worker (process" in failing(kill_worker, "", num_workers=2)


def bad_start(worker: int) -> None:
    raise KeyError("no such shard")


def test_a_worker_that_cannot_start_is_said() -> None:
    loader = DataLoader(Numbered(6), batch_size=2, num_workers=1, worker_init_fn=bad_start)
    with pytest.raises(DataError, match="a loader worker raised KeyError: 'no such shard'"):
        both(loader)


def test_memory_that_runs_out_is_no_mistake_of_the_data() -> None:
    def exhaust(row: int) -> Any:
        raise MemoryError("too large")

    for workers in (0, 1):
        loader = DataLoader(Broken(exhaust), batch_size=6, num_workers=workers)
        data = read((Numbered(6), loader), batch_size=6)
        with pytest.raises(MemoryError):
            numbers(data.validation)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_that_raises_is_said(workers: int) -> None:
    class BrokenStream(Stream):
        def __iter__(self) -> Any:
            yield from super().__iter__()
            raise OSError("the connection was lost")

    loader = DataLoader(BrokenStream(8), batch_size=2, num_workers=workers)
    data = read((Numbered(6), loader), steps_per_epoch=10)
    with pytest.raises(DataError, match=r"OSError: the connection was lost .at test_split_source"):
        numbers(data.validation)


def test_a_loader_of_another_kind_that_raises_is_said() -> None:
    class Own:
        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Any:
            yield torch.zeros(2, 1), torch.zeros(2)
            raise OSError("gone")

    with pytest.raises(DataError, match=r"batch 2: the loader raised OSError: gone .at test_split"):
        numbers(both(Own()).train)


def test_lengths_may_differ_and_are_said_to_whoever_asks() -> None:
    first = read_batch((torch.zeros(4, 7), torch.zeros(4)))
    other = read_batch((torch.zeros(4, 9), torch.zeros(4)))
    assert shape_change(first, first) == ""
    assert shape_change(first, other) == (
        "its inputs are [9] float32 a sample, those of the first batch were [7] float32"
    )
