"""What a data function returned, read as a data set that comes in batches; and what is refused."""

import multiprocessing
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split
from widthwise.objectives.data.dataset import Task
from widthwise.objectives.data.streams.make_feed import StreamOptions
from widthwise.objectives.data.streams.read import read_batched
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.streams.sets import (
    Numbered,
    SizedStream,
    Stream,
    both,
    flat,
    loaders,
    numbers,
    read,
)


def all_numbers(data: Any) -> list[list[int]]:
    return [sorted(flat(numbers(source))) for source in (data.train, data.validation, data.test)]


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(Numbered(50), id="data set"),
        pytest.param(DataLoader(Numbered(50), batch_size=8, shuffle=True), id="loader"),
    ],
)
def test_one_data_set_is_divided_by_the_seed(result: Any) -> None:
    parts = all_numbers(read(result, batch_size=8))
    assert [len(part) for part in parts] == [30, 10, 10]
    assert sorted(flat(parts)) == list(range(50))
    assert all_numbers(read(result, batch_size=8)) == parts
    assert all_numbers(read(result, seed=1, batch_size=8)) != parts


def test_drop_last_of_a_divided_loader_leaves_validation_and_test_whole() -> None:
    data = read(DataLoader(Numbered(50), batch_size=8, shuffle=True, drop_last=True))
    assert data.test is not None
    assert [len(flat(numbers(part))) for part in (data.train, data.validation, data.test)] == [
        24,
        10,
        10,
    ]


def test_parts_of_random_split_are_taken_as_they_are() -> None:
    train, validation, test = random_split(Numbered(20), [12, 5, 3])
    parts = all_numbers(read({"train": train, "val": validation, "test": test}))
    assert parts == [sorted(part.indices) for part in (train, validation, test)]


def test_two_data_sets_have_no_test_split() -> None:
    data = read((Numbered(8), Numbered(4)))
    assert data.test is None
    assert data.validation.rows == 4


def test_a_stream_that_batches_by_itself_counts_batches_and_not_samples() -> None:
    class Batches(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter([(torch.zeros(8, 4), torch.zeros(8, dtype=torch.int64))] * 6)

        def __len__(self) -> int:
            return 6

    data = both(DataLoader(Batches(), batch_size=None))
    assert (data.train.steps, data.train.rows) == (6, None)
    assert data.notes[0].startswith("training data: 6 batches of 8;")


def test_a_loader_keeps_its_batch_size_and_a_data_set_has_the_specs() -> None:
    data = read((DataLoader(Numbered(50), batch_size=8), Numbered(50)), batch_size=25)
    assert data.batch_size == 8
    assert data.train.steps == 7
    assert data.validation.steps == 2


def test_what_is_indexed_and_has_a_length_is_a_data_set() -> None:
    class Rows:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, row: int) -> Any:
            return {"ids": np.full(3, row), "labels": row % 2}

    data = both(Rows())
    assert list(data.example.kwargs) == ["ids"]
    assert data.task == Task.CLASSIFICATION


def test_the_lines_say_what_was_recognised() -> None:
    data = loaders(Numbered(10), num_workers=2)
    assert data.notes[:2] == (
        "training data: 10 samples in 3 batches of 4, loaded by 2 workers; [4] float32; targets [] "
        "int64",
        "validation data: 10 samples in 3 batches of 4, loaded by 2 workers; [4] float32; targets "
        "[] int64",
    )
    assert data.worker_count == 2


@pytest.mark.parametrize(
    ("target", "task"),
    [
        pytest.param(torch.zeros(8), Task.REGRESSION, id="fractions"),
        pytest.param(torch.zeros(8, dtype=torch.int64), Task.CLASSIFICATION, id="whole numbers"),
        pytest.param(torch.ones(8, 3), Task.CLASSIFICATION, id="labels"),
        pytest.param(torch.rand(8, 3), Task.REGRESSION, id="columns of fractions"),
    ],
)
def test_the_targets_tell_the_task(target: Any, task: Task) -> None:
    assert both(TensorDataset(torch.rand(8, 2), target)).task == task


def test_a_task_that_is_stated_counts() -> None:
    sets = (Numbered(8), Numbered(8))
    data = read_batched("f", sets, 0, StreamOptions(), Task.REGRESSION)
    assert data is not None
    assert data.task == Task.REGRESSION


def test_samples_without_targets_have_no_task() -> None:
    data = both(TensorDataset(torch.rand(8, 2)))
    assert data.example.targets is None
    assert data.task is None


def test_classes_that_a_data_set_names_are_known() -> None:
    class Named(Numbered):
        classes = ("a", "b", "c")

    data = read(Named(20))
    assert data.classes == ("a", "b", "c")
    assert data.outputs == 3


def test_a_named_target_of_dict_samples_is_taken() -> None:
    data = both(SizedStream(8), target="x")
    assert list(data.example.kwargs) == ["labels"]


def test_a_forward_with_its_own_loss_gets_the_targets() -> None:
    data = both(SizedStream(8), model_loss=True)
    assert set(data.example.kwargs) == {"x", "labels"}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_that_ignores_the_seed_is_said(workers: int) -> None:
    class Own(Numbered):
        def __init__(self, rows: int) -> None:
            super().__init__(rows)
            self.generator = np.random.default_rng(0)

        def __getitem__(self, row: int) -> Any:
            return torch.tensor([float(self.generator.random())]), 0

    def notes(samples: Any) -> str:
        return "; ".join(loaders(samples, shuffle=True, num_workers=workers).notes)

    assert "ignores the seed" in notes(Own(8))
    assert "ignores" not in notes(Numbered(8, draws=True))
    assert multiprocessing.active_children() == []


def sparse(samples: list[Any]) -> Any:
    return torch.stack([x for x, _ in samples]).to_sparse(), torch.tensor([y for _, y in samples])


@pytest.mark.parametrize(
    ("missing", "options"),
    [
        pytest.param(float("nan"), {}, id="NaN"),
        pytest.param(0.0, {"collate_fn": sparse}, id="sparse"),
    ],
)
def test_missing_and_sparse_numbers_do_not_ignore_the_seed(missing: float, options: Any) -> None:
    data = loaders(TensorDataset(torch.full((8, 3), missing), torch.zeros(8)), **options)
    assert not any("ignores" in note for note in data.notes)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("samples", [Numbered(4), SizedStream(4)], ids=["numbered", "stream"])
def test_no_worker_stands_by_after_reading(samples: Any, persistent: bool) -> None:
    data = loaders(samples, num_workers=1, persistent_workers=persistent)
    assert data.train.steps == 1
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    "result",
    [
        pytest.param((np.zeros((9, 2)), np.zeros(9)), id="pair"),
        pytest.param((torch.zeros(9, 2), torch.zeros(9)), id="tensors"),
        pytest.param(((np.zeros((9, 2)), np.zeros(9)),) * 2, id="pairs"),
        pytest.param({"x": np.zeros((9, 2)), "y": np.zeros(9)}, id="names"),
        pytest.param(([[1, 2]] * 9, [0] * 9), id="lists"),
        pytest.param(3, id="a number"),
        pytest.param(None, id="none"),
        pytest.param(np.zeros(9), id="one column"),
    ],
)
def test_plain_arrays_are_left_to_others(result: Any) -> None:
    assert read_batched("f", result, 0, StreamOptions()) is None


# --- bad input ------------------------------------------------------------------------------------


class LengthRaises(Dataset[Any]):
    def __len__(self) -> int:
        raise ValueError("no index was built")

    def __getitem__(self, row: int) -> Any:
        return torch.zeros(1), 0


def a_generator() -> Iterator[Any]:
    yield torch.zeros(2, 1), torch.zeros(2)


class EmptyStream(Stream):
    def __init__(self) -> None:
        super().__init__(0)


@pytest.mark.parametrize(
    ("result", "options", "says"),
    [
        pytest.param((Numbered(0), Numbered(4)), {}, "the training data is empty", id="empty"),
        pytest.param((Numbered(4), Numbered(0)), {}, "validation data is empty", id="empty second"),
        pytest.param(
            (DataLoader(Numbered(0), batch_size=2), Numbered(4)),
            {},
            "the training data is empty",
            id="empty loader",
        ),
        pytest.param(
            (EmptyStream(), Numbered(4)),
            {"steps_per_epoch": 3},
            "the training data.* is empty",
            id="empty stream",
        ),
        pytest.param(
            (Numbered(4), EmptyStream()),
            {"steps_per_epoch": 3},
            "the validation data.* is empty",
            id="empty validation stream",
        ),
        pytest.param(
            (DataLoader(Numbered(3), batch_size=8, drop_last=True), Numbered(4)),
            {},
            "gives no batch: it has 3 samples.*drop_last",
            id="all dropped",
        ),
        pytest.param((Stream(8), Numbered(4)), {}, "set steps_per_epoch", id="no length"),
        pytest.param((Numbered(4), Stream(8)), {}, "validation data is a str", id="no length 2"),
        pytest.param(Stream(8), {"steps_per_epoch": 3}, "return one for training", id="one stream"),
        pytest.param(Numbered(2), {}, "a data set of 2 samples", id="too few"),
        pytest.param(
            (Numbered(4), (torch.zeros(4, 1), torch.zeros(4))),
            {},
            "a Numbered, a tuple: give all splits as data sets",
            id="mixed",
        ),
        pytest.param((a_generator(), a_generator()), {}, "gone through only once", id="generators"),
        pytest.param(
            (LengthRaises(), Numbered(4)),
            {},
            "ValueError: no index was built .at test_read.py line",
            id="length raises",
        ),
        pytest.param(
            (Numbered(4), TensorDataset(torch.rand(8, 2))),
            {},
            "a batch of the training data has targets, one of the validation data has none",
            id="no targets to validate by",
        ),
        pytest.param(
            (Numbered(4), Numbered(4)), {"target": "age"}, "leave target out", id="no dict"
        ),
    ],
)
def test_bad_data_is_refused_in_a_sentence(result: Any, options: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read(result, **options)
    message = str(caught.value)
    assert message.startswith("own.py:load")
    assert message.endswith(".")
    assert "\n" not in message
