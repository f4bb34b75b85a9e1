"""The order of the rows: a stream of its own, whole or in parts of an epoch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from widthwise.objectives.order import Order

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
