"""The order of a source: parts of epochs, one open reader, and the place after an interruption."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor
from widthwise.objectives.data.batches import BatchSampler
from widthwise.objectives.data.streams.batch import Batch
from widthwise.objectives.data.streams.order import EpochOrder, EpochPart, EpochReader
from widthwise.objectives.errors import DataError

CPU = torch.device("cpu")


class Counting:
    """A source of numbered batches that notes how it is read."""

    def __init__(self, steps: int = 5, ends_after: int | None = None) -> None:
        self.steps, self.rows, self.ends_after = steps, None, ends_after
        self.opened: list[tuple[int, int, int]] = []
        self.closed = 0

    def batches(
        self, seed: int, epoch: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        self.opened.append((seed, epoch, start))
        try:
            for step in range(start, self.ends_after or stop or self.steps):
                yield Batch((torch.tensor([100 * seed + 10 * epoch + step]),))
        finally:
            self.closed += 1

    def close(self) -> None:
        pass


def numbers(batches: Iterator[Batch]) -> list[int]:
    def number(value: Tensor) -> int:
        return int(value)

    return [number(batch.args[0]) for batch in batches]


@pytest.mark.parametrize("fractions", [[0.1, 0.5, 0.55, 1.0, 1.0], [1.0, 0.34, 0.33, 0.9, 1.0]])
def test_parts_are_as_long_as_those_of_arrays(fractions: Sequence[float]) -> None:
    order, arrays = EpochOrder(7), BatchSampler(7 * 4, 4, 0)
    for fraction in fractions:
        part, rows = order.batches_until(fraction), arrays.batches_until(fraction)
        assert len(part) == len(rows)
        assert order.mid_epoch == arrays.mid_epoch
        assert order.position == arrays.position
        resumed = EpochOrder(7)
        resumed.load_state(*order.position)
        assert resumed.position == order.position
        assert resumed.mid_epoch == order.mid_epoch


def test_parts_of_an_epoch_are_read_from_one_iterator() -> None:
    source, order = Counting(), EpochOrder(5)
    reader = EpochReader(source, seed=3, device=CPU)
    read = [numbers(reader.read(order.batches_until(share))) for share in (0.3, 0.8, 1.0, 0.2)]
    assert read == [[300, 301], [302, 303], [304], [310]]
    assert source.opened == [(3, 0, 0), (3, 1, 0)]
    assert source.closed == 1  # the second one goes on
    reader.close()
    assert source.closed == 2


def test_a_reader_begins_where_a_training_goes_on() -> None:
    source = Counting()
    reader = EpochReader(source, seed=0, device=CPU)
    assert numbers(reader.read(EpochPart(epoch=2, start=3, stop=5))) == [23, 24]
    assert source.opened == [(0, 2, 3)]


def test_a_reader_goes_back_where_a_step_is_done_again() -> None:
    source = Counting()
    reader = EpochReader(source, seed=0, device=CPU)
    part = EpochPart(epoch=0, start=1, stop=3)
    assert numbers(reader.read(part)) == numbers(reader.read(part)) == [1, 2]
    assert source.closed == 1


def test_an_epoch_that_ends_too_early_is_a_mistake_of_the_data() -> None:
    reader = EpochReader(Counting(ends_after=2), seed=0, device=CPU)
    with pytest.raises(DataError, match="ended after batch 2 of 5 of epoch 0"):
        numbers(reader.read(EpochPart(epoch=0, start=0, stop=5)))
