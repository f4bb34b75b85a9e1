"""Ranks of activations whose rank is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from widthwise.objectives.growth.rank import activation_rank


@pytest.mark.parametrize("rank", [1, 3, 10])
def test_directions_of_equal_size(rank: int) -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(16, rank)))[0]
    found = activation_rank(torch.from_numpy(rng.normal(size=(4000, rank)) @ basis.T + 5))
    assert found.srank == rank
    assert found.stable == pytest.approx(rank, rel=0.1)
    assert found.entropy == pytest.approx(rank, rel=0.01)
    assert found.constant == 0


def test_by_hand() -> None:
    """Orthogonal columns of singular values 8, 1 and 0.05: 99 % of their sum are two of them."""
    columns = np.linalg.qr(np.random.default_rng(1).normal(size=(500, 4)))[0]
    columns = columns - columns.mean(axis=0)
    columns, _ = np.linalg.qr(columns)
    sizes = np.array([8, 1, 0.05])
    found = activation_rank(torch.from_numpy(columns[:, :3] * sizes))
    shares = sizes / sizes.sum()
    assert found.srank == 2
    assert found.stable == pytest.approx((64 + 1 + 0.0025) / 64, rel=1e-6)
    assert found.entropy == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


def test_dead_neurons_and_few_rows() -> None:
    values = torch.randn(50, 4)
    values[:, 1] = 3.0
    found = activation_rank(values)
    assert (found.constant, found.srank) == (1, 3)
    assert not found.is_bounded_by_rows
    assert activation_rank(torch.randn(4, 8)).is_bounded_by_rows
    assert activation_rank(torch.ones(9, 4)).srank == 0
