"""Buffers at another size: known rules, and the refusal of anything else."""

import math

import pytest
import torch
from torch import Tensor
from widthwise.objectives.discovery.resizing.buffers import resized_buffer
from widthwise.objectives.discovery.resizing.errors import ResizeError


def sinusoids(positions: int, width: int) -> Tensor:
    """Return the table that torch's tutorial on transformers makes."""
    position = torch.arange(positions).unsqueeze(1)
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = torch.zeros(positions, 1, width)
    table[:, 0, 0::2] = torch.sin(position * rates)
    table[:, 0, 1::2] = torch.cos(position * rates)
    return table


def frequencies(size: int) -> Tensor:
    return 1.0 / (10000.0 ** (torch.arange(0, size, 2).float() / size))


MASK = torch.full((6, 6), float("-inf")).triu(1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (torch.zeros(4), torch.zeros(9)),
        (torch.full((2, 3), 7.0), torch.full((2, 5), 7.0)),
        (torch.tril(torch.ones(1, 1, 8, 8)), torch.tril(torch.ones(1, 1, 5, 5))),
        (torch.ones(4, 4).triu(1).bool(), torch.ones(7, 7).triu(1).bool()),
        (MASK, torch.full((3, 3), float("-inf")).triu(1)),
        (torch.arange(6)[None], torch.arange(9)[None]),
        (sinusoids(10, 8), sinusoids(10, 12)),
        (frequencies(16), frequencies(24)),
    ],
    ids=["zeros", "constant", "tril", "bool", "inf", "positions", "sinusoids", "rotary"],
)
def test_what_follows_from_the_size(old: Tensor, new: Tensor) -> None:
    result = resized_buffer("b", old, new.shape)
    assert result.dtype == new.dtype
    assert torch.allclose(result.double(), new.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "old",
    [torch.tensor([0.3, 0.1, 0.7, 0.2]), torch.complex(torch.ones(4), torch.zeros(4))],
    ids=["any values", "complex"],
)
def test_unknown_values_are_refused(old: Tensor) -> None:
    with pytest.raises(ResizeError, match=r"the buffer table of shape \(4,\) holds values"):
        resized_buffer("table", old, (6,))
