"""In which order batches come, with which draws, and from any position."""

import itertools
import multiprocessing
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler
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
    tensors,
)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_has_every_sample_once_in_an_order_of_its_seed(workers: int) -> None:
    data = loaders(Numbered(10), num_workers=workers)
    first = numbers(data.train, seed=1)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(flat(first)) == list(range(10))
    assert numbers(data.train, seed=1) == first
    assert numbers(data.train, seed=2) != first
    assert numbers(data.train, seed=1, epoch=1) != first


def test_draws_are_equal_with_any_number_of_workers_and_from_any_batch() -> None:
    alone = tensors(loaders(Numbered(10, draws=True)).train, seed=5, epoch=2)
    data = loaders(Numbered(10, draws=True), num_workers=2)
    assert all(map(torch.equal, alone, tensors(data.train, seed=5, epoch=2)))
    assert all(map(torch.equal, alone[1:], tensors(data.train, seed=5, epoch=2, start=1)))
    assert torch.equal(alone[1], tensors(data.train, seed=5, epoch=2, start=1, stop=2)[0])
    others = tensors(data.train, seed=5, epoch=3)
    assert not {tuple(row) for batch in alone for row in batch[:, 1:].tolist()} & {
        tuple(row) for batch in others for row in batch[:, 1:].tolist()
    }


def test_loading_leaves_the_streams_of_the_training_alone() -> None:
    data = loaders(Numbered(10, draws=True))
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    tensors(data.train)
    assert torch.equal(torch.rand(3), expected)


def test_going_on_within_an_epoch_loads_nothing_before() -> None:
    class Watched(Numbered):
        loaded: ClassVar[list[int]] = []

        def __getitem__(self, row: int) -> Any:
            self.loaded.append(row)
            return super().__getitem__(row)

    data = both(Watched(12), batch_size=4)
    Watched.loaded.clear()
    (last,) = numbers(data.train, start=2)
    assert last == Watched.loaded


def test_validation_is_in_its_own_order_whatever_the_seed() -> None:
    data = loaders(Numbered(6, draws=True), shuffle=True)
    assert flat(numbers(data.validation)) == list(range(6))
    pairs = zip(tensors(data.validation, seed=1), tensors(data.validation, seed=2), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_last_batch_of_one_row_is_left_out_of_training_alone() -> None:
    data = loaders(Numbered(9))
    assert [len(batch) for batch in numbers(data.train)] == [4, 4]
    assert [len(batch) for batch in numbers(data.validation)] == [4, 4, 1]


def test_drop_last_is_kept() -> None:
    data = loaders(Numbered(10), drop_last=True)
    assert [len(batch) for batch in numbers(data.train)] == [4, 4]
    assert [len(batch) for batch in numbers(data.validation)] == [4, 4]


def test_persistent_workers_stay_from_epoch_to_epoch_and_end_on_close() -> None:
    data = loaders(Numbered(10), num_workers=2, persistent_workers=True)
    before = set(multiprocessing.active_children())
    first = numbers(data.train, seed=1)
    kept = set(multiprocessing.active_children()) - before
    numbers(data.train, seed=1, epoch=1)
    assert set(multiprocessing.active_children()) - before == kept
    assert len(kept) == 2
    assert numbers(data.train, seed=1) == first
    data.close()
    assert set(multiprocessing.active_children()) & kept == set()


def test_workers_end_with_an_iterator_that_is_closed_midway() -> None:
    data = loaders(Numbered(40), num_workers=2)
    batches = data.train.batches(0, 0)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


class Sleeping(Numbered):
    """A sample that takes for ever, of which the file says that it is being loaded."""

    def __init__(self, file: Path) -> None:
        super().__init__(12)
        self.file = file

    def __getitem__(self, row: int) -> Any:
        if row == 11:
            self.file.touch()
            time.sleep(3600)
        return super().__getitem__(row)


def test_a_busy_worker_that_ignores_sigterm_ends_all_the_same(tmp_path: Path) -> None:
    loader = DataLoader(Sleeping(tmp_path / "busy"), 4, num_workers=1, prefetch_factor=1)
    data = read((Numbered(4), loader))
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        batches = data.validation.batches(0, 0)
        next(batches)
        next(batches)
        while not (tmp_path / "busy").exists():
            time.sleep(0.01)
        batches.close()  # type: ignore[attr-defined]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert multiprocessing.active_children() == []


class OddFirst(Sampler[int]):
    """An order that draws nothing."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        return iter([*range(1, self.rows, 2), *range(0, self.rows, 2)])

    def __len__(self) -> int:
        return self.rows


def test_a_sampler_of_the_users_own_is_kept_and_named() -> None:
    data = read((DataLoader(Numbered(6), batch_size=3, sampler=OddFirst(6)), Numbered(6)))
    assert numbers(data.train, seed=7) == [[1, 3, 5], [0, 2, 4]]
    assert any("OddFirst" in note for note in data.notes)


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(WeightedRandomSampler([1.0] * 8, 8), id="weighted"),
        pytest.param(
            WeightedRandomSampler([1.0] * 8, 8, generator=torch.Generator()), id="own generator"
        ),
        pytest.param(SubsetRandomSampler(range(8)), id="subset"),
        pytest.param(RandomSampler(Numbered(8), replacement=True), id="with replacement"),
    ],
)
def test_a_sampler_draws_from_the_trials_seed(sampler: Any) -> None:
    data = read((DataLoader(Numbered(8), batch_size=4, sampler=sampler), Numbered(8)))
    first = numbers(data.train, seed=1)
    assert numbers(data.train, seed=1) == first
    assert numbers(data.train, seed=1, start=1) == first[1:]
    assert first not in (numbers(data.train, seed=2), numbers(data.train, seed=1, epoch=1))


def test_a_sampler_of_other_rows_than_the_data_sets_is_kept() -> None:
    loader = DataLoader(Numbered(100), batch_size=10, sampler=RandomSampler(range(50)))
    data = read((loader, DataLoader(Numbered(9), sampler=SequentialSampler(range(3)))))
    assert (data.train.steps, data.train.rows) == (5, 50)
    assert sorted(flat(numbers(data.train))) == list(range(50))
    assert flat(numbers(data.validation)) == [0, 1, 2]


def test_a_distributed_sampler_draws_from_the_trials_seed() -> None:
    samples = Numbered(12)
    sampler = DistributedSampler(samples, num_replicas=1, rank=0)
    data = read((DataLoader(samples, batch_size=4, sampler=sampler), Numbered(8)))
    first = numbers(data.train, seed=1)
    assert numbers(data.train, seed=1) == first
    assert first not in (numbers(data.train, seed=2), numbers(data.train, seed=1, epoch=1))


class Endless(Sampler[Any]):
    """Keys, or batches of them, without end."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def __iter__(self) -> Any:
        return itertools.repeat(self.key)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param({"sampler": Endless(0)}, id="of samples"),
        pytest.param({"batch_sampler": Endless([0] * 1_000)}, id="of batches"),
    ],
)
def test_a_sampler_without_end_is_refused(order: dict[str, Any]) -> None:
    says = "own.py:load: the training data: its Endless gives more than 1,000,000 keys, and no end"
    with pytest.raises(DataError, match=says):
        read((DataLoader(Numbered(20), **order), Numbered(20)))


def test_a_batch_sampler_is_kept() -> None:
    own = [[0, 1], [2, 3, 4]]
    data = read((DataLoader(Numbered(5), batch_sampler=own), Numbered(5)))
    assert numbers(data.train) == own
    assert data.train.rows == 5


class Shrinking(Sampler[list[int]]):
    """Batches of equal lengths, of which there are fewer after the first epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Any:
        order = torch.randperm(8).tolist()
        return iter([order[:4], order[4:]] if self.epoch == 0 else [order])


def test_an_epoch_has_as_many_batches_as_the_first() -> None:
    data = read((DataLoader(Numbered(8), batch_sampler=Shrinking()), Numbered(8)))
    assert [len(batch) for batch in numbers(data.train, epoch=0)] == [4, 4]
    assert [len(batch) for batch in numbers(data.train, epoch=1)] == [8, 8]


def test_items_may_be_whole_batches() -> None:
    class Blocks(Numbered):
        def __getitem__(self, block: int) -> Any:
            rows = torch.arange(3) + 3 * block
            return rows[:, None].float(), rows

    data = loaders(Blocks(4), batch_size=None)
    assert sorted(numbers(data.train)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert (data.train.steps, data.train.rows) == (4, None)
    assert data.batch_size == 3
    assert data.notes[0].startswith("training data: 4 batches of 3;")


# --- streams --------------------------------------------------------------------------------------


def test_an_epoch_of_a_stream_with_a_length_is_one_pass() -> None:
    data = both(SizedStream(10), batch_size=4)
    assert data.train.steps == 3
    for epoch in (0, 1):
        assert flat(numbers(data.train, epoch=epoch)) == list(range(10))


def test_a_stream_goes_on_where_the_epoch_before_ended_and_begins_anew() -> None:
    data = both(Stream(10), batch_size=4, steps_per_epoch=2)
    epochs = [numbers(data.train, epoch=epoch) for epoch in range(3)]
    assert epochs == [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9], [0, 1, 2, 3]], [[4, 5, 6, 7], [8, 9]]]
    resumed = both(Stream(10), batch_size=4, steps_per_epoch=2)
    assert numbers(resumed.train, epoch=1, start=1) == [[0, 1, 2, 3]]
    assert numbers(resumed.train, epoch=2) == epochs[2]


def test_a_stream_is_not_drawn_again_from_its_beginning() -> None:
    class Watched(Stream):
        begun = 0

        def __iter__(self) -> Any:
            Watched.begun += 1
            return super().__iter__()

    data = both(Watched(1_000), batch_size=4, steps_per_epoch=2)
    Watched.begun = 0
    for epoch in range(5):
        numbers(data.train, epoch=epoch)
    assert Watched.begun == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_draws_of_a_stream_come_from_the_seed_and_the_pass(workers: int) -> None:
    loader = DataLoader(Stream(8, draws=True), batch_size=4, num_workers=workers)
    data = both(loader, steps_per_epoch=2)
    first = tensors(data.train, seed=1)
    again, other_pass = tensors(data.train, seed=1), tensors(data.train, seed=1, epoch=1)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other_pass[0])
    assert torch.equal(first[0][:, 0], other_pass[0][:, 0])
    data.close()
    assert multiprocessing.active_children() == []


def test_a_validation_stream_is_read_to_its_end() -> None:
    data = read((Stream(10), Stream(10)), batch_size=4, steps_per_epoch=100)
    assert [len(batch) for batch in numbers(data.validation)] == [4, 4, 2]


def test_a_stream_that_ends_before_its_length_is_refused() -> None:
    data = read((SizedStream(10, says=20), Numbered(6)), batch_size=4)
    with pytest.raises(DataError, match="says that it has 5 batches, and ended after 3"):
        numbers(data.train)


def test_an_unending_stream_is_trained_on_by_steps() -> None:
    class Endless(Stream):
        def __iter__(self) -> Any:
            while True:
                yield from super().__iter__()

    data = read((Endless(10), Numbered(6)), batch_size=4, steps_per_epoch=3)
    assert len(numbers(data.train, epoch=4)) == 3


# --- loaders of other kinds -----------------------------------------------------------------------


class Pairs:
    """A loader that nobody derived from anything."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Any:
        for number in range(self.batches):
            yield torch.full((2, 1), float(number)) + torch.rand(2, 1) / 2, torch.zeros(2)


def test_any_loader_is_iterated_as_it_is_with_draws_of_the_seed() -> None:
    data = both(Pairs(3))
    assert data.train.steps == 3
    assert numbers(data.train) == [[0, 0], [1, 1], [2, 2]]
    first = tensors(data.train, seed=1)
    assert all(map(torch.equal, first, tensors(data.train, seed=1)))
    assert all(map(torch.equal, first[1:], tensors(data.train, seed=1, start=1)))
    assert not torch.equal(first[0], tensors(data.train, seed=1, epoch=1)[0])


def test_a_loader_with_an_iteration_of_its_own_shuffles_by_the_seed() -> None:
    class Own(DataLoader[Any]):
        def __iter__(self) -> Any:
            return super().__iter__()

    data = both(Own(Numbered(12), batch_size=4, shuffle=True))
    first = numbers(data.train, seed=1)
    assert sorted(flat(first)) == list(range(12))
    assert numbers(data.train, seed=1) == first
    assert numbers(data.train, seed=2) != first
