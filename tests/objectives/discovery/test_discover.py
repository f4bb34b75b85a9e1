"""Discovery: the groups of plain models, judged against the same models built at other sizes."""

import time
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from widthwise.objectives.discovery.discover import discover
from widthwise.objectives.discovery.groups import WidthGroup
from widthwise.objectives.errors import ModelError
from widthwise.tests.objectives.discovery.found import TOKENS, Specs, shapes, sizes, spec


class Perceptron(nn.Module):
    """Two hidden layers of equal size, which are two groups all the same."""

    def __init__(self, first: int = 12, second: int = 12) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(5, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    """Attention with fused projections, and a feed-forward part."""

    def __init__(self, d: int, heads: int, ff: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, ff), nn.Linear(ff, d)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, d = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, d // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, d))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Decoder(nn.Module):
    """A language model with tied embeddings."""

    def __init__(self, d_model: int = 16, heads: int = 4, ff: int = 40) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, d_model)
        self.blocks = nn.ModuleList(Block(d_model, heads, ff) for _ in range(2))
        self.head = nn.Linear(d_model, 30, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Convolutions(nn.Module):
    """Depthwise and grouped convolutions, a concatenation and a flatten before the last layer."""

    def __init__(self, stem: int = 8, side: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, stem, 3, padding=1)
        self.norm = nn.BatchNorm2d(stem)
        self.depthwise = nn.Conv2d(stem, stem, 3, padding=1, groups=stem)
        self.side = nn.Conv2d(stem, side, 1, groups=4)
        self.last = nn.Linear((stem + side) * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x)))
        x = x + self.depthwise(x)
        return self.last(functional.max_pool2d(torch.cat([x, self.side(x)], 1), 2).flatten(1))


class Recurrent(nn.Module):
    """Two layers in both directions, on a convolution's channels."""

    def __init__(self, channels: int = 6, hidden: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, channels, 3, padding=1)
        self.lstm = nn.LSTM(channels, hidden, 2, batch_first=True, bidirectional=True)
        self.last = nn.Linear(2 * hidden, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.lstm(self.conv(x).transpose(1, 2))[0][:, -1])


class Shared(nn.Module):
    """Attention in which pairs of queries share a key, of a size of its own."""

    def __init__(self, d: int = 12, inner: int = 16) -> None:
        super().__init__()
        self.head_dim = 4
        self.embed = nn.Embedding(20, d)
        self.q, self.k, self.v = (nn.Linear(d, n) for n in (inner, inner // 2, inner // 2))
        self.o = nn.Linear(inner, d)
        self.norm, self.last = nn.LayerNorm(d), nn.Linear(d, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        q, k, v = (
            f(x).view(*x.shape[:-1], -1, self.head_dim).transpose(1, 2)
            for f in (self.q, self.k, self.v)
        )
        repeats = q.shape[1] // k.shape[1]
        k, v = (t.repeat_interleave(repeats, 1) for t in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.last(self.norm(x + self.o(mixed)).mean(1))


@pytest.mark.parametrize(
    ("make", "inputs", "groups", "other"),
    [
        pytest.param(
            Perceptron,
            spec(5),
            {"net.0": (12, 1), "net.2": (12, 1)},
            {"net.0": ("first", 7), "net.2": ("second", 30)},
            id="perceptron",
        ),
        pytest.param(
            Decoder,
            TOKENS,
            {"d_model": (16, 4), "ff": (40, 1)},
            {"d_model": ("d_model", 28), "ff": ("ff", 17)},
            id="decoder",
        ),
        pytest.param(
            Convolutions,
            spec(3, 8, 8),
            {"stem": (8, 4), "side": (12, 4)},
            {"stem": ("stem", 20), "side": ("side", 4)},
            id="convolutions",
        ),
        pytest.param(
            Recurrent,
            spec(4, 9),
            {"channels": (6, 1), "hidden": (10, 1)},
            {"channels": ("channels", 5), "hidden": ("hidden", 21)},
            id="recurrent",
        ),
        pytest.param(
            Shared,
            TOKENS,
            {"d": (12, 1), "inner": (16, 8)},
            {"d": ("d", 9), "inner": ("inner", 40)},
            id="shared-keys",
        ),
    ],
)
def test_groups_say_what_the_constructor_does(
    make: Callable[..., nn.Module],
    inputs: Specs,
    groups: dict[str, tuple[int, int]],
    other: dict[str, tuple[str, int]],
) -> None:
    discovery = discover(make, inputs)
    assert sizes(discovery) == groups
    assert discovery.shapes({}) == shapes(make())
    chosen = {name: size for name, (_, size) in other.items()}
    rebuilt = make(**dict(other.values()))
    assert discovery.shapes(chosen) == shapes(rebuilt)
    for (path, attribute), expression in discovery.attributes.items():
        real = getattr(rebuilt.get_submodule(path), attribute)
        today_and_group = {**discovery.sizes, **chosen}
        if isinstance(expression, tuple):
            assert tuple(e.value(today_and_group) for e in expression) == real
        else:
            assert expression.value(today_and_group) == real


def test_layers_that_stay_have_a_reason() -> None:
    discovery = discover(Decoder, TOKENS)
    reasons = {layer.module: layer.reason for layer in discovery.fixed}
    assert reasons == {"embed": "number of embeddings (30)", "head": "output size (30)"}
    assert reasons_of(Convolutions, spec(3, 8, 8)) == {
        "stem": "input size (3)",
        "last": "output size (10)",
    }


def reasons_of(make: Callable[[], nn.Module], inputs: Specs) -> dict[str, str]:
    """Return why layers stay, by their paths."""
    return {layer.module: layer.reason for layer in discover(make, inputs).fixed}


def test_per_layer_gives_each_block_its_own_width() -> None:
    discovery = discover(Decoder, TOKENS, per_layer=True)
    assert [group.size for group in discovery.groups] == [16, 40, 40]
    names = [group.name for group in discovery.groups]
    assert len(set(names)) == 3
    _, first, second = discovery.groups
    assert {m.module for m in first.members} == {"blocks.0.up", "blocks.0.down"}
    assert {m.module for m in second.members} == {"blocks.1.up", "blocks.1.down"}


def modules(groups: Sequence[WidthGroup]) -> list[str]:
    """Return the layer of each group's first member."""
    return [group.members[0].module for group in groups]


def test_only_and_keep_choose_layers() -> None:
    kept = discover(Perceptron, spec(5), keep=["net.4"])
    assert modules(kept.groups) == ["net.0"]
    assert {"net.2": "to be kept (12)"}.items() <= {f.module: f.reason for f in kept.fixed}.items()
    only = discover(Perceptron, spec(5), only=["net.2"])
    assert modules(only.groups) == ["net.2"]
    blocks = discover(Decoder, TOKENS, only=["blocks"])
    assert [group.name for group in blocks.groups] == ["ff"]


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no layer with parameters matches only 'lyer\*'"):
        discover(Perceptron, spec(5), only=["lyer*"])


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.a(x))


def test_what_forward_does_not_use_is_reported() -> None:
    assert reasons_of(Unused, spec(5))["b"] == "not used in forward"


class Branching(Unused):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.c(x) if x.sum() > 0 else self.b(x)


def test_control_flow_that_depends_on_data_is_reported_and_not_guessed() -> None:
    discovery = discover(Branching, spec(5))
    assert discovery.groups == ()
    assert {layer.module for layer in discovery.fixed} == {"a", "b", "c"}
    assert all("data-dependent control flow" in layer.reason for layer in discovery.fixed)


def test_an_example_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be called with this example"):
        discover(Perceptron, spec(6))


def test_a_model_is_left_as_it_was() -> None:
    model = Decoder()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    discovery = discover(model, TOKENS)
    assert [group.size for group in discovery.groups] == [16, 40]
    assert type(model.blocks[0].heads) is int
    assert model.head.weight is model.embed.weight
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    model(torch.zeros(1, 7, dtype=torch.int64)).sum().backward()


def test_nothing_is_allocated() -> None:
    """The weights alone would take four terabytes."""
    million = 1_000_003
    discovery = discover(lambda: Perceptron(million, million), spec(5))
    assert sizes(discovery) == {"net.0": (million, 1), "net.2": (million, 1)}


def test_an_input_of_size_1_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 2, 1))
    fixed = {layer.module: layer.reason for layer in discover(model, spec(1, 8, 8)).fixed}
    assert fixed == {"0": "input size (1)", "2": "output size (2)"}


class Mixed(nn.Module):
    """Four widths, a norm over channels and two flattenings."""

    def __init__(self, a: int = 12, b: int = 17, c: int = 9, d: int = 21) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, a, 3, padding=1), nn.Conv2d(a, b, 3, padding=1)
        self.c, self.norm = nn.Conv2d(b, c, 1), nn.LayerNorm(c)
        self.d, self.last = nn.Linear(c, d), nn.Linear(64 * d, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(self.b(self.a(x))).flatten(2).transpose(1, 2)
        return self.last(self.d(self.norm(x)).flatten(1))


@pytest.mark.parametrize("size", [3, 8, 10, 11, 64])
def test_sizes_that_are_equal_by_chance_are_not_tied(size: int) -> None:
    """The example has sizes 3, 8 and 64, the output 10, and 11 samples are in its batch."""
    by_chance = discover(lambda: Mixed(size, size, size, size), spec(3, 8, 8))
    apart = discover(Mixed, spec(3, 8, 8))
    assert [group.members for group in by_chance.groups] == [g.members for g in apart.groups]
    assert len(apart.groups) == 4


@pytest.mark.parametrize("size", [4, 7])
def test_attention_is_found_whatever_the_sizes(size: int) -> None:
    """As many heads as tokens, as each head has numbers, and as the feed-forward part has."""
    discovery = discover(lambda: Decoder(size * size, size, size), TOKENS)
    apart = discover(Decoder, TOKENS)
    assert [group.members for group in discovery.groups] == [g.members for g in apart.groups]
    assert [group.multiple_of for group in discovery.groups] == [size, 1]


class Translator(nn.Module):
    """torch's own Transformer, with the mask that its tutorials give it."""

    def __init__(self, d_model: int = 12, dim_feedforward: int = 20) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, d_model)
        self.both = nn.Transformer(d_model, 4, 1, 1, dim_feedforward, batch_first=True)
        self.last = nn.Linear(d_model, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.last(self.both(x, x, tgt_mask=mask))


def test_torchs_transformer_with_a_causal_mask() -> None:
    discovery = discover(Translator, TOKENS)
    assert [(g.size, g.multiple_of) for g in discovery.groups] == [(12, 4), (20, 1), (20, 1)]
    assert discovery.groups[0].name == "d_model"
    chosen = dict(zip(discovery.sizes, (16, 8, 8), strict=True))
    assert discovery.shapes(chosen) == shapes(Translator(16, 8))


class Residual(nn.Module):
    """One hundred residual blocks."""

    def __init__(self, d: int = 1 << 16) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, d), nn.Linear(d, 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
            for _ in range(100)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


def test_a_hundred_blocks_take_less_than_a_minute_and_no_memory() -> None:
    """Their weights alone would take fourteen terabytes."""
    start = time.process_time()
    discovery = discover(Residual, spec(5))
    assert time.process_time() - start < 60
    assert sizes(discovery) == {"d": (1 << 16, 1), "blocks.1": (1 << 18, 1)}
