"""How many batches a stream has that says how many samples, and which: every sample counts once."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.streams.sets import (
    Numbered,
    SizedStream,
    both,
    flat,
    numbers,
    read,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # of more workers than cores
    pytest.mark.filterwarnings("ignore:Length of IterableDataset"),  # by torch, which counts alone
]


@pytest.mark.parametrize(("rows", "workers"), [(99, 3), (10, 4), (7, 1), (3, 4)])
@pytest.mark.parametrize("batch_size", [4, 64])
def test_loader_workers_that_divide_a_stream_give_each_sample_once(
    rows: int, workers: int, batch_size: int
) -> None:
    loader = DataLoader(SizedStream(rows), batch_size=batch_size, num_workers=workers)
    data = both(loader)
    for source in (data.train, data.validation):
        assert sorted(flat(numbers(source))) == list(range(rows))
        assert source.rows == rows
    assert numbers(data.validation) == [batch["x"][:, 0].tolist() for batch in loader]
    assert sorted(flat(numbers(data.train, epoch=1))) == list(range(rows))


class Undivided(IterableDataset[Any]):
    """A stream that every loader worker gives as a whole, with a length."""

    def __len__(self) -> int:
        return 20

    def __iter__(self) -> Iterator[Any]:
        return iter([(torch.tensor([float(row)]), 0) for row in range(20)])


class InRanges(Undivided):
    """A stream of which each loader worker gives a range, the last one what is left."""

    def __iter__(self) -> Iterator[Any]:
        worker, rows = get_worker_info(), [*super().__iter__()]
        if worker is not None:
            start = 10 * worker.id - 9 * (worker.id == 2)
            rows = rows[start:][: (10, 1, 9)[worker.id]]
        return iter(rows)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize(
    ("stream", "workers", "fact"),
    [
        pytest.param(Undivided(), 2, "4 batches.* 2 loader workers, and goes on", id="undivided"),
        pytest.param(InRanges(), 3, "6 batches.* and ended after 5", id="divided unevenly"),
    ],
)
def test_a_stream_that_its_workers_do_not_divide_is_refused(
    stream: Any, workers: int, fact: str, split: str
) -> None:
    data = both(DataLoader(stream, batch_size=5, num_workers=workers))
    with pytest.raises(DataError, match=f"{fact}.*divide it evenly.*get_worker_info") as caught:
        numbers(getattr(data, split))
    assert "own.py:load: the " in str(caught.value)


def test_a_stream_of_more_samples_than_its_length_is_refused() -> None:
    data = read((SizedStream(12, says=8), Numbered(6)), batch_size=4)
    with pytest.raises(DataError, match="has 2 batches, and goes on after them: let its __len__"):
        numbers(data.train)


class EndsBadly(Undivided):
    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        raise OSError("the connection was lost")


def test_a_stream_that_raises_where_it_should_end_says_what() -> None:
    data = read((EndsBadly(), Undivided()), batch_size=5)
    says = "the training data: after its last batch: .*OSError: the connection was lost"
    with pytest.raises(DataError, match=says):
        numbers(data.train)


def test_each_worker_leaves_out_a_last_batch_of_its_own() -> None:
    loader = DataLoader(SizedStream(100), batch_size=30, num_workers=2, drop_last=True)
    data = read((loader, Numbered(6)))
    assert [len(batch) for batch in numbers(data.train)] == [30, 30]
    assert sorted(flat(numbers(data.train, epoch=1))) == list(range(60))


@pytest.mark.parametrize(
    ("workers", "says"),
    [
        (0, "gives no batch: it has 7 samples, fewer than the batch size of 30, and drop_last"),
        (
            4,
            "gives no batch: each of its 4 loader workers has at most 2 of its 7 samples, fewer "
            "than the batch size of 30, and drop_last is set; make the batches smaller, or take",
        ),
    ],
)
def test_a_stream_all_of_which_is_left_out_is_refused(workers: int, says: str) -> None:
    loader = DataLoader(SizedStream(7), batch_size=30, num_workers=workers, drop_last=True)
    with pytest.raises(DataError, match=says):
        read((loader, Numbered(6)))
