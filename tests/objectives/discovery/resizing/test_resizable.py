"""Models of other sizes, compared with what plain torch builds when it is written at that size."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from widthwise.objectives.discovery.resizing.resizable import find_resizable
from widthwise.objectives.discovery.resizing.resizable_model import Resizable
from widthwise.objectives.errors import ModelError
from widthwise.objectives.trace.trace import trace
from widthwise.objectives.training.step import StepSpec, TensorSpec

TOKENS = TensorSpec(shape=(6,), dtype=torch.int64)
ROWS = TensorSpec(shape=(5,))


class Attention(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (d // heads) ** -0.5
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.register_buffer("mask", torch.tril(torch.ones(6, 6)))

    def forward(self, x: Tensor) -> Tensor:
        rows, length, d = x.shape
        q, k, v = (
            part.view(rows, length, self.heads, d // self.heads).transpose(1, 2)
            for part in self.qkv(x).chunk(3, 2)
        )
        scores = (q @ k.transpose(-2, -1)) * self.scale
        scores = scores.masked_fill(self.mask == 0, float("-inf"))
        result: Tensor = self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, length, d))
        return result


class Block(nn.Module):
    def __init__(self, d: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = Attention(d, heads)
        self.up, self.down = nn.Linear(d, hidden), nn.Linear(hidden, d)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        result: Tensor = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return result


class GPT(nn.Module):
    """Widths are the constructor's numbers, or (`ratio`) only one of them is."""

    def __init__(self, d: int = 16, hidden: int = 24, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(11, d), nn.Parameter(torch.randn(1, 6, d) * 0.1)
        self.blocks = nn.ModuleList(Block(d, heads, hidden) for _ in range(layers))
        self.head = nn.Linear(d, 11, bias=False)
        nn.init.normal_(self.token.weight, std=0.02)
        self.head.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.position
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.head(x)
        return result


class Hidden(GPT):
    """The same without a number to change."""

    def __init__(self) -> None:
        super().__init__()


@pytest.fixture(scope="module")
def by_constructor() -> Resizable:
    return find_resizable(GPT, (TOKENS,))


@pytest.fixture(scope="module")
def by_surgery() -> Resizable:
    return find_resizable(Hidden, (TOKENS,))


def names(model: Resizable) -> dict[int, str]:
    return {group.size: group.name for group in model.discovery.groups}


def test_every_width_and_the_depth_by_the_constructor(by_constructor: Resizable) -> None:
    discovery = by_constructor.discovery
    assert discovery.how == "constructor"
    assert {g.name: (g.size, g.multiple_of) for g in discovery.groups} == {
        "d": (16, 4),
        "hidden": (24, 1),
    }
    assert [(depth.name, depth.size) for depth in discovery.depths] == [("layers", 2)]
    sizes = {"d": 20, "hidden": 31, "layers": 3}
    assert by_constructor.call(sizes) == "GPT(d=20, hidden=31, layers=3)"
    assert shapes(by_constructor.build(sizes)) == shapes(GPT(20, 31, 3))


def test_depth_is_a_group_in_json(by_constructor: Resizable) -> None:
    *_, depth = by_constructor.discovery.to_json()["groups"]
    assert depth == {
        "name": "layers",
        "size": 2,
        "multiple_of": 1,
        "members": [
            {"module": "blocks.0", "parameter": None, "dim": None},
            {"module": "blocks.1", "parameter": None, "dim": None},
        ],
        "depth": True,
    }


@pytest.mark.parametrize("d", [4, 8, 20, 32])
@pytest.mark.parametrize(("hidden", "layers"), [(7, 1), (24, 2), (48, 5)])
def test_surgery_gives_the_model_that_the_constructor_would(
    by_surgery: Resizable, d: int, hidden: int, layers: int
) -> None:
    (depth,) = by_surgery.discovery.depths
    width, inner = names(by_surgery)[16], names(by_surgery)[24]
    torch.manual_seed(0)
    model: Any = by_surgery.build({width: d, inner: hidden, depth.name: layers})
    truth = GPT(d, hidden, layers)
    assert by_surgery.discovery.how == "surgery"
    assert by_surgery.call({width: 2 * d if d == 16 else 32}) is None
    assert shapes(model) == shapes(truth)
    assert model.head.weight is model.token.weight
    assert model.blocks[0].attention.scale == pytest.approx((d // 4) ** -0.5)
    # With the same weights it computes the same.
    model.load_state_dict(truth.state_dict())
    tokens = torch.randint(11, (3, 6))
    assert torch.allclose(model(tokens), truth(tokens), atol=1e-6)


def test_costs_are_those_of_the_model_written_at_that_size(by_surgery: Resizable) -> None:
    width, inner = names(by_surgery)[16], names(by_surgery)[24]
    step = StepSpec(inputs=(TOKENS,), batch_size=4)
    resized = trace(lambda: by_surgery.build({width: 32, inner: 12}), step)
    written = trace(lambda: GPT(32, 12), step)
    assert resized == written


def test_initialised_as_the_model_does_it(by_surgery: Resizable) -> None:
    width, inner = names(by_surgery)[16], names(by_surgery)[24]
    torch.manual_seed(0)
    model: Any = by_surgery.build({width: 128, inner: 512})
    block = model.blocks[0]
    assert model.token.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.position.std().item() == pytest.approx(0.1, rel=0.25)  # that of 96 numbers
    # torch's Linear: uniform within 1 / sqrt(fan-in), weight and bias.
    for layer, fan_in in ((block.up, 128), (block.down, 512), (block.attention.qkv, 128)):
        for parameter in (layer.weight, layer.bias):
            peak = parameter.abs().max().item()
            assert peak == pytest.approx(1 / math.sqrt(fan_in), rel=0.05)
    assert bool((block.norm1.weight == 1).all())
    assert torch.equal(block.attention.mask, torch.tril(torch.ones(6, 6)))


def test_a_seed_gives_one_model(by_surgery: Resizable) -> None:
    width = names(by_surgery)[16]
    built = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built.append(by_surgery.build({width: 8}).state_dict())
    same = {name: torch.equal(built[0][name], built[1][name]) for name in built[0]}
    assert all(same.values())
    assert not torch.equal(built[0]["token.weight"], built[2]["token.weight"])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dd": 8}, "there is no width 'dd': did you mean 'd'"),
        ({"d": 10}, "the width d is 10: it must be a multiple of 4"),
        ({"hidden": 0}, "the width hidden is 0: it must be at least 1"),
    ],
    ids=["name", "divisor", "zero"],
)
def test_sizes_that_cannot_be(by_constructor: Resizable, sizes: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        by_constructor.build(sizes)


def wide_and_deep() -> nn.Module:
    weight_norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(
        weight_norm(nn.Linear(5, 8)), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)
    )


def test_weight_norm_and_batch_norm() -> None:
    resizable = find_resizable(wide_and_deep, (ROWS,))
    (group,) = resizable.discovery.groups
    model: Any = resizable.build({group.name: 50})
    assert [tuple(p.shape) for p in model.parameters()] == [
        *[(50,), (50, 1), (50, 5), (50,), (50,), (2, 50), (2,)]
    ]
    weights = model[0].parametrizations.weight
    # Lengths are those of the directions, as weight norm starts; running figures start, too.
    assert torch.allclose(weights.original0, weights.original1.norm(dim=1, keepdim=True))
    assert weights.original1.abs().max().item() == pytest.approx(5**-0.5, rel=0.05)
    assert model[1].running_var.tolist() == [1.0] * 50
    assert model(torch.randn(4, 5)).shape == (4, 2)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_weight_norm_of_the_older_kind() -> None:
    def make_model() -> nn.Module:
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 8)), nn.Linear(8, 2))

    resizable = find_resizable(make_model, (ROWS,))
    (group,) = resizable.discovery.groups
    torch.manual_seed(0)
    layer: Any = resizable.build({group.name: 60})[0]  # type: ignore[index]
    assert layer.weight_v.abs().max().item() == pytest.approx(5**-0.5, rel=0.05)
    assert torch.allclose(layer.weight_g, layer.weight_v.norm(dim=1, keepdim=True))


def test_spectral_norm_starts_from_other_vectors() -> None:
    def make_model() -> nn.Module:
        norm = nn.utils.parametrizations.spectral_norm
        return nn.Sequential(norm(nn.Linear(5, 8)), nn.Linear(8, 2))

    resizable = find_resizable(make_model, (ROWS,))
    (group,) = resizable.discovery.groups
    model: Any = resizable.build({group.name: 30})
    for _ in range(200):
        weight = model[0].weight
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, rel=1e-3)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, 12, 2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.out(self.rnn(x)[0][:, -1])
        return result


def test_a_recurrent_layer_runs_at_another_size() -> None:
    resizable = find_resizable(Recurrent, (TensorSpec(shape=(4, 5)),))
    (group,) = resizable.discovery.groups
    model: Any = resizable.build({group.name: 20})
    assert model.rnn.hidden_size == 20
    assert model.rnn.weight_hh_l1_reverse.abs().max().item() == pytest.approx(20**-0.5, rel=0.05)
    model(torch.randn(2, 4, 5)).sum().backward()
    assert model.rnn.weight_hh_l0.grad.shape == (80, 20)


class Halves(nn.Module):
    """Its constructor takes half of one width, and wants `by` to divide the other."""

    def __init__(self, half: int = 5, inner: int = 24, by: int = 1, most: int = 1000) -> None:
        super().__init__()
        if inner % by or inner > most:
            raise ValueError("not this size")
        self.first, self.second = nn.Linear(5, 2 * half), nn.Linear(2 * half, inner)
        self.last = nn.Linear(inner, 2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.second(self.first(x)).relu())
        return result


def test_a_width_is_a_multiple_of_what_the_constructor_makes_of_its_number() -> None:
    resizable = find_resizable(Halves, (ROWS,))
    assert {g.size: g.multiple_of for g in resizable.discovery.groups} == {10: 2, 24: 1}
    half = names(resizable)[10]
    assert resizable.call({half: 14}) == "Halves(half=7, inner=24)"


def test_a_constructor_that_refuses_sizes_raises_the_divisor() -> None:
    resizable = find_resizable(lambda: Halves(by=8), (ROWS,))
    assert resizable.discovery.how == "constructor"
    assert {g.size: g.multiple_of for g in resizable.discovery.groups} == {10: 2, 24: 8}


def test_what_a_constructor_refuses_altogether_is_done_by_surgery() -> None:
    resizable = find_resizable(lambda: Halves(most=72), (ROWS,))
    inner = names(resizable)[24]
    assert resizable.discovery.how == "constructor"  # 48 and 37 are below
    tight = find_resizable(lambda: Halves(inner=24, most=24), (ROWS,))
    assert tight.discovery.how == "surgery"
    model: Any = tight.build({names(tight)[24]: 48, names(tight)[10]: 20})
    assert shapes(model) == shapes(resizable.build({inner: 48, names(resizable)[10]: 20}))


class UnknownBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 2)
        self.register_buffer("table", torch.tensor([3.0, 1, 4, 1, 5, 9, 2, 6]))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.first(x) * self.table)
        return result


class WrittenSize(nn.Module):
    """Its forward has today's size written down where no equation sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if x.shape[-1] != 8 + 0 * len(x):
            raise ValueError("made for 8")
        result: Tensor = self.last(self.second(x))
        return result


@pytest.mark.parametrize(
    ("make_model", "reason"),
    [(UnknownBuffer, "the buffer table of shape"), (WrittenSize, "8")],
    ids=["buffer", "number in forward"],
)
def test_a_group_that_cannot_be_resized_is_fixed_with_the_reason(
    make_model: Callable[[], nn.Module], reason: str
) -> None:
    discovery = find_resizable(make_model, (ROWS,)).discovery
    assert 8 not in [group.size for group in discovery.groups]
    (first,) = (layer for layer in discovery.fixed if layer.module == "first")
    assert reason in first.reason


def test_a_module_is_left_as_it_is_and_its_resized_ones_start_afresh() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    nn.init.constant_(model[2].bias, 50.0)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    resizable = find_resizable(model, (ROWS,))
    (group,) = resizable.discovery.groups
    wider: Any = resizable.build({group.name: 16})
    assert wider[0].weight.shape == (16, 5)
    assert wider[2].bias.abs().max().item() < 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_lazy_layers_are_refused_in_a_sentence() -> None:
    def lazy() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))

    with pytest.raises(ModelError, match=r"^the model has lazy layers, .* as nn\.Linear\(8, 16\)"):
        find_resizable(lazy, (ROWS,))
