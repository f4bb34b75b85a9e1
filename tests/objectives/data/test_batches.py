"""Feeding: batches are the same wherever the data lies, and what fits is put on the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from widthwise.objectives.data.batches import Order, batches, fetched_ahead, placed, size
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines import base
from widthwise.objectives.engines.base import Engine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.loop.loop import Candidate, train_together
from widthwise.objectives.training.settings import ProxySettings, TrainingResult
from widthwise.tests.objectives.engines.equality import family, generated

CPU = torch.device("cpu")


def split(rows: int = 20) -> Split:
    numbers = torch.arange(rows * 3, dtype=torch.float32).reshape(rows, 3)
    return Split(inputs=numbers, targets=torch.arange(rows))


def data(of: Split) -> Data:
    return Data(name="d", task="classification", train=of, validation=of, test=of, outputs=20)


@settings(deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=7), max_size=5),
)
def test_batches_fetched_ahead_are_those_gathered_at_once(parts: list[list[int]]) -> None:
    rows = [torch.tensor(part) for part in parts]
    whole = split()
    direct = list(batches(whole, rows, CPU))
    ahead = list(fetched_ahead(whole, rows, CPU))
    assert len(direct) == len(ahead) == len(parts)
    for mine, others, part in zip(direct, ahead, parts, strict=True):
        assert torch.equal(mine[0], whole.inputs[part])
        assert torch.equal(mine[0], others[0])
        assert torch.equal(mine[1], others[1])


def test_a_stack_of_batches_keeps_its_shape() -> None:
    (found,) = batches(split(), [torch.tensor([[1, 2], [3, 4], [5, 6]])], CPU)
    assert found[0].shape == (3, 2, 3)
    assert found[1].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_data_elsewhere_comes_to_the_device() -> None:
    # The meta device holds no numbers, but it is another one than the data's.
    found = list(batches(split(), [torch.tensor([1, 2]), torch.tensor([3])], torch.device("meta")))
    assert [one[0].device.type for one in found] == ["meta", "meta"]
    assert [one[0].shape for one in found] == [(2, 3), (1, 3)]


def test_what_fetching_raises_reaches_the_training() -> None:
    with pytest.raises(IndexError):
        list(fetched_ahead(split(), [torch.tensor([99])], CPU))


def test_a_mapped_file_is_read_by_the_batch_and_never_whole(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(60, dtype=np.float32).reshape(20, 3))
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    there = data(Split(inputs=mapped, targets=torch.arange(20)))
    assert placed(there, CPU).train.inputs.data_ptr() == mapped.data_ptr()
    (found,) = batches(there.train, [torch.tensor([4, 2])], CPU)
    assert found[0].tolist() == [[12, 13, 14], [6, 7, 8]]


def test_only_what_fits_well_is_put_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, moved = torch.device("cuda"), []
    monkeypatch.setattr(Data, "to", lambda self, device: moved.append(device) or self)
    there = data(split())
    free = 4 * size(there)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10 * free))
    placed(there, gpu)
    assert moved == [gpu]
    free -= 1
    placed(there, gpu)
    assert moved == [gpu]
    placed(there, gpu, "device")
    assert moved == [gpu, gpu]
    placed(there, gpu, "host")
    assert moved == [gpu, gpu]


@pytest.mark.parametrize("engine", [PlainEngine, StackedEngine])
def test_a_training_is_the_same_where_its_batches_are_fetched_ahead(
    engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = family("mlp", generated(rows=40), dropout=0.3, norm="batch")
    batch = [Candidate(widths={"a": width}, seed=width) for width in (3, 5)]
    short = ProxySettings(epochs=2, batch_size=16, patience=0, device="cpu")

    def trained() -> list[TrainingResult]:
        found = train_together(objective, batch, short, device=CPU, engine=engine())
        results = [one for one in found if isinstance(one, TrainingResult)]
        assert [one.engine for one in results] == [engine.name, engine.name]
        return [replace(one, seconds=0.0) for one in results]

    at_once = trained()
    monkeypatch.setattr(base, "batches", fetched_ahead)
    assert trained() == at_once


SHARES = st.lists(st.floats(0.001, 0.999), max_size=5).map(lambda found: [*sorted(found), 1.0])


def epoch(order: Order, shares: list[float]) -> list[Tensor]:
    return [batch for share in shares for batch in order.until(share)]


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 70), size=st.integers(1, 80), seed=st.integers(0, 2**63 - 1))
def test_an_epoch_brings_every_row_once(rows: int, size: int, seed: int) -> None:
    order = Order(rows, size, seed)
    for _ in range(2):
        batches = order.until(1.0)
        seen = torch.cat(batches).tolist()
        lone = size > 1 and rows > size and rows % size == 1
        assert len(set(seen)) == len(seen) == rows - lone
        assert set(seen) <= set(range(rows))
        assert all(len(batch) == size for batch in batches[:-1])
        assert len(batches) == order.steps
        assert not lone or len(batches[-1]) > 1


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 70), size=st.integers(1, 20), shares=SHARES)
def test_an_epoch_in_parts_is_the_whole_epoch(rows: int, size: int, shares: list[float]) -> None:
    """Also where a part ends within the batch that the part before it ended in."""
    parted, whole = Order(rows, size, 5), Order(rows, size, 5)
    for _ in range(3):
        parts, expected = epoch(parted, shares), whole.until(1.0)
        assert len(parts) == len(expected)
        assert all(map(torch.equal, parts, expected))


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(2, 200), size=st.integers(1, 20), share=st.floats(0.001, 1.0))
def test_a_share_is_kept_to_the_batch(rows: int, size: int, share: float) -> None:
    order = Order(rows, size, 0)
    given_ = len(order.until(share))
    assert given_ >= 1
    assert given_ - 1 < share * order.steps + 1e-9
    assert given_ + 1e-9 >= share * order.steps


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_seed_repeats_its_order_and_another_has_another(share: float) -> None:
    def first(seed: int) -> Tensor:
        torch.rand(3)  # whatever else was drawn
        return torch.cat(Order(100, 10, seed).until(share))

    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


def test_the_callers_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    Order(100, 10, 1).until(1.0)
    assert torch.equal(torch.get_rng_state(), before)
