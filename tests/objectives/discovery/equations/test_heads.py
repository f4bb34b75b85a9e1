"""Heads of attention: what stays where their number, or their size, is held by something else."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from widthwise.objectives.discovery.discover import discover
from widthwise.tests.objectives.discovery.found import shapes, sizes, spec


class HeadBias(nn.Module):
    """Attention with a bias for each head: the heads' number is a size of a parameter."""

    def __init__(self, d: int = 24) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 4, d // 4
        self.first, self.qkv = nn.Linear(5, d), nn.Linear(d, 3 * d)
        self.out, self.last = nn.Linear(d, d), nn.Linear(d, 2)
        self.bias = nn.Parameter(torch.zeros(4, 7, 7))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        batch, length, d = x.shape
        parts = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1) + self.bias).softmax(-1)
        return self.last(
            (x + self.out((scores @ v).transpose(1, 2).reshape(batch, length, d))).mean(1)
        )


def test_heads_stay_where_d_model_is_the_size_of_the_stream() -> None:
    discovery = discover(HeadBias, spec(7, 5))
    assert sizes(discovery) == {"d": (24, 4)}
    assert discovery.shapes({"d": 36}) == shapes(HeadBias(36))
    reasons = {layer.module: layer.reason for layer in discovery.fixed}
    assert reasons[""] == "number of heads (4); input size (7)"


class Crossed(nn.Module):
    """Learned queries that attend to the input: torch's attention keeps its output's size."""

    def __init__(self, d: int = 12) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(1, 3, d))
        self.first = nn.Linear(5, d)
        self.attention = nn.MultiheadAttention(d, 3, batch_first=True)
        self.last = nn.Linear(d, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y, _ = self.attention(self.queries.expand(x.shape[0], -1, -1), x, x)
        return self.last(y.mean(1))


def test_torchs_attention_is_one_size_and_a_number_of_queries_none() -> None:
    discovery = discover(Crossed, spec(7, 5))
    assert sizes(discovery) == {"d": (12, 3)}
    assert discovery.shapes({"d": 21}) == shapes(Crossed(21))
    assert discovery.fixed[0].module == ""
    assert discovery.fixed[0].reason == "size of a parameter that no other layer shares (3)"


class NormedHeads(nn.Module):
    """Attention whose heads are normed: the size of a head is a size of a parameter."""

    def __init__(self, d: int = 12, inner: int = 16) -> None:
        super().__init__()
        self.head_dim = 4
        self.first, self.norm = nn.Linear(5, d), nn.LayerNorm(d)
        self.q, self.k, self.v = (nn.Linear(d, inner) for _ in range(3))
        self.q_norm, self.k_norm = nn.LayerNorm(4), nn.LayerNorm(4)
        self.o, self.last = nn.Linear(inner, d), nn.Linear(d, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        q, k, v = (f(x).view(*x.shape[:-1], -1, self.head_dim) for f in (self.q, self.k, self.v))
        q, k, v = (t.transpose(1, 2) for t in (self.q_norm(q), self.k_norm(k), v))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.last((x + self.o(mixed)).mean(1))


def test_the_size_of_a_head_stays_where_their_number_may_follow() -> None:
    discovery = discover(NormedHeads, spec(7, 5))
    assert sizes(discovery) == {"d": (12, 1), "inner": (16, 4)}
    assert discovery.shapes({"inner": 28, "d": 10}) == shapes(NormedHeads(10, 28))
