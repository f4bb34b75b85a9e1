"""Randomness: seeded streams that can be left and entered again."""

import torch
from torch import Tensor
from widthwise.objectives.randomness import Randomness


def test_randomness_goes_on_where_it_was_left() -> None:
    def draw(parts: int) -> list[Tensor]:
        randomness = Randomness(3, torch.device("cpu"))
        samples: list[Tensor] = []
        for _ in range(parts):
            with randomness:
                samples += [torch.rand(2) for _ in range(4 // parts)]
            torch.rand(1)
        return samples

    assert torch.equal(torch.stack(draw(1)), torch.stack(draw(4)))
