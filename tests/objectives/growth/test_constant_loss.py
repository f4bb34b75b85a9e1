"""The best constant: the mean for squares, the classes' shares for cross-entropy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from widthwise.objectives.growth.constant_loss import best_constant


def test_squared_errors_ask_for_the_mean() -> None:
    targets = torch.randn(200, 3) + torch.tensor([1.0, 2.0, 3.0])
    found = best_constant(targets[:2], targets, lambda output, y: (output - y).square().mean())  # type: ignore[operator]
    assert found is not None
    torch.testing.assert_close(found, targets.mean(0), atol=1e-3, rtol=1e-3)


def test_cross_entropy_asks_for_the_shares() -> None:
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)

    def loss(output: Any, wanted: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, wanted)

    found = best_constant(torch.zeros(1, 3), targets, loss)
    assert found is not None
    shares = found.softmax(0)
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1]), atol=1e-3, rtol=1e-2)


def test_a_loss_that_has_none() -> None:
    def loss(output: Any, _: Tensor) -> Tensor:
        value: Tensor = output.sum() * torch.nan
        return value

    assert best_constant(torch.zeros(1, 3), torch.zeros(5), loss) is None
