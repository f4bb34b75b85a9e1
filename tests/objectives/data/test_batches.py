"""Batches: the same wherever the data is; data that fits well is moved to the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from widthwise.objectives.data.batches import (
    BatchSampler,
    DataLocation,
    batches,
    data_bytes,
    place_data,
    prefetched_batches,
)
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines import base
from widthwise.objectives.engines.base import Engine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import family_objective, make_clusters

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
def test_prefetched_batches_are_those_gathered_at_once(parts: list[list[int]]) -> None:
    rows = [torch.tensor(part) for part in parts]
    whole = split()
    direct = list(batches(whole, rows, CPU))
    ahead = list(prefetched_batches(whole, rows, CPU))
    assert len(direct) == len(ahead) == len(parts)
    for actual, others, part in zip(direct, ahead, parts, strict=True):
        assert torch.equal(actual[0], whole.inputs[part])
        assert torch.equal(actual[0], others[0])
        assert torch.equal(actual[1], others[1])


def test_a_stack_of_batches_keeps_its_shape() -> None:
    (actual,) = batches(split(), [torch.tensor([[1, 2], [3, 4], [5, 6]])], CPU)
    assert actual[0].shape == (3, 2, 3)
    assert actual[1].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_data_elsewhere_comes_to_the_device() -> None:
    # The meta device holds no numbers, but it is another one than the data's.
    actual = list(batches(split(), [torch.tensor([1, 2]), torch.tensor([3])], torch.device("meta")))
    assert [batch_rows[0].device.type for batch_rows in actual] == ["meta", "meta"]
    assert [batch_rows[0].shape for batch_rows in actual] == [(2, 3), (1, 3)]


def test_what_fetching_raises_reaches_the_training() -> None:
    with pytest.raises(IndexError):
        list(prefetched_batches(split(), [torch.tensor([99])], CPU))


def test_a_mapped_file_is_read_by_the_batch_and_never_whole(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(60, dtype=np.float32).reshape(20, 3))
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    dataset = data(Split(inputs=mapped, targets=torch.arange(20)))
    assert place_data(dataset, CPU).train.inputs.data_ptr() == mapped.data_ptr()
    (rows_read,) = batches(dataset.train, [torch.tensor([4, 2])], CPU)
    assert rows_read[0].tolist() == [[12, 13, 14], [6, 7, 8]]


def test_only_data_that_fits_well_is_moved_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, moved = torch.device("cuda"), []
    monkeypatch.setattr(Data, "to", lambda self, device: moved.append(device) or self)
    dataset = data(split())
    free = 4 * data_bytes(dataset)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10 * free))
    place_data(dataset, gpu)
    assert moved == [gpu]
    free -= 1
    place_data(dataset, gpu)
    assert moved == [gpu]
    place_data(dataset, gpu, DataLocation.DEVICE)
    assert moved == [gpu, gpu]
    place_data(dataset, gpu, DataLocation.HOST)
    assert moved == [gpu, gpu]


@pytest.mark.parametrize("engine", [PlainEngine, StackedEngine])
def test_a_training_is_the_same_with_prefetched_batches(
    engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = family_objective("mlp", make_clusters(rows=40), dropout=0.3, norm="batch")
    batch = [Candidate(widths={"a": width}, seed=width) for width in (3, 5)]
    short = ProxySettings(epochs=2, batch_size=16, patience=0, device="cpu")

    def trained() -> list[TrainingResult]:
        training_results = train_together(objective, batch, short, device=CPU, engine=engine())
        results = [result for result in training_results if isinstance(result, TrainingResult)]
        assert [result.engine for result in results] == [engine.name, engine.name]
        return [replace(result, seconds=0.0) for result in results]

    at_once = trained()
    monkeypatch.setattr(base, "batches", prefetched_batches)
    assert trained() == at_once


SHARES = st.lists(st.floats(0.001, 0.999), max_size=5).map(lambda shares: [*sorted(shares), 1.0])


def epoch(order: BatchSampler, shares: list[float]) -> list[Tensor]:
    return [batch for share in shares for batch in order.batches_until(share)]


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 70), size=st.integers(1, 80), seed=st.integers(0, 2**63 - 1))
def test_an_epoch_brings_every_row_once(rows: int, size: int, seed: int) -> None:
    order = BatchSampler(rows, size, seed)
    for _ in range(2):
        batches = order.batches_until(1.0)
        observed = torch.cat(batches).tolist()
        lone = size > 1 and rows > size and rows % size == 1
        assert len(set(observed)) == len(observed) == rows - lone
        assert set(observed) <= set(range(rows))
        assert all(len(batch) == size for batch in batches[:-1])
        assert len(batches) == order.steps_per_epoch
        assert not lone or len(batches[-1]) > 1


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 70), size=st.integers(1, 20), shares=SHARES)
def test_an_epoch_in_parts_is_the_whole_epoch(rows: int, size: int, shares: list[float]) -> None:
    """Also where a part ends within the batch that the part before it ended in."""
    parted, whole = BatchSampler(rows, size, 5), BatchSampler(rows, size, 5)
    for _ in range(3):
        parts, expected = epoch(parted, shares), whole.batches_until(1.0)
        assert len(parts) == len(expected)
        assert all(map(torch.equal, parts, expected))


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(2, 200), size=st.integers(1, 20), share=st.floats(0.001, 1.0))
def test_a_share_is_kept_to_the_batch(rows: int, size: int, share: float) -> None:
    order = BatchSampler(rows, size, 0)
    given_ = len(order.batches_until(share))
    assert given_ >= 1
    assert given_ - 1 < share * order.steps_per_epoch + 1e-9
    assert given_ + 1e-9 >= share * order.steps_per_epoch


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_seed_repeats_its_order_and_another_has_another(share: float) -> None:
    def first(seed: int) -> Tensor:
        torch.rand(3)  # whatever else was drawn
        return torch.cat(BatchSampler(100, 10, seed).batches_until(share))

    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


def test_the_callers_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    BatchSampler(100, 10, 1).batches_until(1.0)
    assert torch.equal(torch.get_rng_state(), before)
