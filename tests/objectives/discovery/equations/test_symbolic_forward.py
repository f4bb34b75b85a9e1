"""The forward pass with symbolic sizes: what a model reads, draws or kept besides its layers."""

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from widthwise.objectives.discovery.discover import discover
from widthwise.tests.objectives.discovery.found import TOKENS, shapes, sizes, spec


@dataclass(frozen=True)
class Config:
    """Sizes of attention, as many models carry them with them."""

    n_embd: int = 12
    n_head: int = 2
    d_head: int = 8


class Configured(nn.Module):
    """Attention that reads its sizes from a configuration in forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, inner = config, config.n_head * config.d_head
        self.embed, self.norm = nn.Embedding(20, config.n_embd), nn.LayerNorm(config.n_embd)
        self.q, self.k, self.v = (nn.Linear(config.n_embd, inner) for _ in range(3))
        self.o, self.last = nn.Linear(inner, config.n_embd), nn.Linear(config.n_embd, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        c = self.config
        x = self.norm(self.embed(tokens).reshape(*tokens.shape, c.n_embd))
        q, k, v = (
            layer(x).view(*tokens.shape, c.n_head, c.d_head).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.last((x + self.o(mixed.reshape(*tokens.shape, c.n_head * c.d_head))).mean(1))


def test_numbers_of_a_configuration_are_no_constants() -> None:
    config = Config()
    discovery = discover(Configured(config), TOKENS)
    assert sizes(discovery) == {"n_embd": (12, 1), "q": (16, 8)}
    other = Config(n_embd=10, n_head=3)
    assert discovery.shapes({"n_embd": 10, "q": 24}) == shapes(Configured(other))
    assert type(config.n_embd) is int


class Dropping(nn.Module):
    """Residual blocks of which a training skips some by chance."""

    def __init__(self, keep: Callable[[], bool]) -> None:
        super().__init__()
        self.keep = keep
        self.first, self.last = nn.Linear(5, 12), nn.Linear(12, 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 12)) for _ in range(8)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            if self.keep():
                x = x + block(x)
        return self.last(x)


@pytest.mark.parametrize(
    "keep",
    [
        pytest.param(lambda: random.random() > 0.5, id="above"),
        pytest.param(lambda: random.random() < 0.5, id="below"),
        pytest.param(lambda: bool(torch.rand(()) > 0.5), id="torch"),
    ],
)
def test_layers_that_are_skipped_by_chance_are_found(keep: Callable[[], bool]) -> None:
    before = random.getstate()
    discovery = discover(lambda: Dropping(keep), spec(5))
    assert [(group.size, len(group.members)) for group in discovery.groups] == [(12, 27), (20, 24)]
    assert {layer.reason for layer in discovery.fixed} == {"input size (5)", "output size (2)"}
    assert random.getstate() == before


def test_a_model_in_evaluation_mode_is_as_good_as_one_in_training() -> None:
    """In that mode torch would compute its encoder in one kernel."""

    def encoder() -> nn.Module:
        layer = nn.TransformerEncoderLayer(16, 4, 20, batch_first=True)
        return nn.Sequential(
            nn.Linear(5, 16), nn.TransformerEncoder(layer, 1), nn.Flatten(), nn.Linear(16 * 7, 2)
        )

    assert discover(lambda: encoder().eval(), spec(7, 5)) == discover(encoder, spec(7, 5))


@functools.cache
def split(width: int, heads: int) -> tuple[int, int]:
    """Return heads and the size of a head, as a library may that keeps what it computed."""
    return heads, width // heads


class Cached(nn.Module):
    """Attention of which the sizes come from a cache."""

    def __init__(self, d: int = 12) -> None:
        super().__init__()
        self.first, self.q, self.last = nn.Linear(5, d), nn.Linear(d, d), nn.Linear(d, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        q = self.q(x).view(*x.shape[:2], *split(x.shape[-1], 3)).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(q, q, q)
        return self.last((x + mixed.transpose(1, 2).flatten(2)).mean(1))


def test_numbers_that_a_cache_kept_from_another_pass_do_no_harm() -> None:
    first = discover(Cached, spec(7, 5))
    assert sizes(first) == {"d": (12, 3)}
    second = discover(Cached, spec(7, 5))
    assert {layer.module for layer in second.fixed} >= {"first", "last"}
    split.cache_clear()
    assert discover(Cached, spec(7, 5)) == first
