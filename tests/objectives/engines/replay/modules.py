"""Modules that the replay engine is tried with: those that people write, easy and awkward."""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

TOKENS, LENGTH, CLASSES = 11, 6, 3


class EncoderBlock(nn.Module):
    """A pre-norm encoder block."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.project(self.before(x)).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.drop(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.feed(self.between(x))


class Transformer(nn.Module):
    """Token classification by its mean; widths: size, heads, hidden."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        size = widths["size"] * widths["heads"]
        self.words = nn.Embedding(TOKENS, size)
        self.positions = nn.Parameter(torch.randn(LENGTH, size) * 0.02)
        self.block = EncoderBlock(size, widths["heads"], widths["hidden"])
        self.out = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, CLASSES))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.block(self.words(tokens) + self.positions).mean(1))


class Recurrent(nn.Module):
    """An LSTM over a sequence `[rows, steps, features]`."""

    def __init__(self, widths: Mapping[str, int], features: int) -> None:
        super().__init__()
        self.inner = nn.LSTM(features, widths["size"], num_layers=2, batch_first=True, dropout=0.2)
        self.out = nn.Linear(widths["size"], CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.inner(x)[0][:, -1])


class ResidualConvNet(nn.Module):
    """A residual CNN whose statistics have no momentum, and whose groups have 2 channels."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        size = 2 * widths["size"]
        self.stem = nn.Conv2d(1, size, 3, padding=1)
        self.first = nn.Conv2d(size, size, 3, padding=1, groups=size // 2)
        self.norm, self.second = nn.GroupNorm(size // 2, size), nn.Conv2d(size, size, 1)
        self.out = nn.Linear(size, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.stem(x).relu(), 3, 2, 1)
        x = x + self.second(self.norm(self.first(x)).relu())
        return self.out(x.mean((2, 3)))


class NoisyNetwork(nn.Module):
    """A network that draws from torch's random stream: dropout as a function, and noise."""

    def __init__(self, widths: Mapping[str, int], features: int) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(features, widths["a"]), nn.Linear(widths["a"], CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(self.first(x).relu(), 0.3, self.training)
        return self.out(x + 0.1 * torch.randn_like(x) * self.training)


class UnregisteredState(nn.Module):
    """State that is no buffer: a tensor changed in place, which takes part in the result."""

    def __init__(self, widths: Mapping[str, int], features: int) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(features, widths["a"]), nn.Linear(widths["a"], CLASSES)
        self.mean = torch.zeros(widths["a"], dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.1)
        return self.out((x - self.mean).tanh())


class Unreplayable(nn.Module):
    """A layer whose recorded step would be wrong; `way` decides how."""

    def __init__(self, widths: Mapping[str, int], features: int, way: str) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(features, widths["a"]), nn.Linear(widths["a"], CLASSES)
        self.way, self.calls, self.warmth = way, 0, 1.0
        self.register_buffer("mean", torch.zeros(widths["a"]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.training:
            x = getattr(self, self.way)(x)
        return self.out(x)

    def bending(self, x: Tensor) -> Tensor:
        return x.relu()

    def branching(self, x: Tensor) -> Tensor:
        return x.relu() if x.mean() > 0 else x.tanh()

    def listing(self, x: Tensor) -> Tensor:
        return x * x.detach().sum().tolist()

    def leaving(self, x: Tensor) -> Tensor:
        return x * float(x.detach().numpy().mean())

    def counting(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x if self.calls < 8 else x.relu()

    def cooling(self, x: Tensor) -> Tensor:
        self.warmth *= 0.9
        return x * self.warmth

    def rolling(self, x: Tensor) -> Tensor:
        return x * (1 + random.random())

    def replacing(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean

    def picking(self, x: Tensor) -> Tensor:
        return x + x[x > 0].mean()
