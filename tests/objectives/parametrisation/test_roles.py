"""Roles: recognised by shapes and layer types for every kind of layer; ambiguity is refused."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.parametrisation.errors import MupInapplicable
from widthwise.objectives.parametrisation.fans import Fans, parameter_fans
from widthwise.objectives.parametrisation.mup import derive_mup
from widthwise.tests.objectives.zoo.attention import GPT2
from widthwise.tests.objectives.zoo.small import TiedBigram

from .models import BASE, BUILDS, WIDENED, Build, Widths

ROLES: Mapping[str, Mapping[str, str]] = {
    "mlp": {
        "1.weight": "vector",
        "1.bias": "vector",
        "3.weight": "hidden",
        "3.bias": "vector",
        "5.weight": "output",
        "5.bias": "constant",
    },
    "mlp with layer norm": {"2.weight": "vector", "4.weight": "hidden", "7.weight": "output"},
    "mlp with batch norm": {"2.bias": "vector", "4.weight": "hidden", "7.weight": "output"},
    "cnn": {
        "0.weight": "vector",
        "4.weight": "hidden",
        "5.weight": "vector",
        "10.weight": "output",
    },
    "two heads": {
        "trunk.0.weight": "vector",
        "trunk.2.weight": "hidden",
        "left.weight": "output",
        "right.weight": "output",
        "right.bias": "constant",
    },
    "LSTM": {
        "layers.weight_ih_l0": "vector",
        "layers.weight_hh_l0": "hidden",
        "layers.bias_ih_l0": "vector",
        "layers.weight_ih_l1": "hidden",
        "head.weight": "output",
    },
    "GRU": {
        "layers.weight_ih_l0": "vector",
        "layers.weight_hh_l0": "hidden",
        "head.weight": "output",
    },
    "DCGAN": {
        "layers.0.weight": "vector",
        "layers.1.weight": "vector",
        "layers.3.weight": "hidden",
        "layers.6.weight": "output",
    },
    "U-Net": {
        "down.0.0.weight": "vector",
        "down.0.2.weight": "hidden",
        "up.0.weight": "hidden",
        "merge.0.0.weight": "hidden",
        "head.weight": "output",
    },
    "ResNet": {
        "stem.0.weight": "vector",
        "blocks.0.down.0.weight": "hidden",
        "blocks.0.project.0.weight": "hidden",
        "head.weight": "output",
    },
    "depthwise": {
        "stem.0.weight": "vector",
        "branches.0.0.weight": "hidden",
        "branches.0.3.weight": "vector",
        "head.weight": "output",
    },
    "torch's encoder": {
        "layers.0.self_attn.in_proj_weight": "hidden",
        "layers.0.self_attn.in_proj_bias": "vector",
        "layers.0.self_attn.out_proj.weight": "hidden",
        "layers.0.linear1.weight": "hidden",
        "layers.0.norm1.weight": "vector",
    },
    "ViT": {
        "patches.weight": "vector",
        "token": "vector",
        "positions": "vector",
        "blocks.0.project.weight": "hidden",
        "blocks.0.feed.2.weight": "hidden",
        "head.weight": "output",
    },
    "words": {
        "embedding.weight": "vector",
        "positions": "vector",
        "scale": "vector",
        "slope.weight": "constant",
        "hidden.weight": "hidden",
        "head.weight": "output",
    },
}


@pytest.mark.parametrize("name", BUILDS)
def test_every_layer_has_its_role(name: str) -> None:
    rules = derive_mup(BUILDS[name], BASE, WIDENED).rules
    assert list(rules) == [key for key, _ in BUILDS[name](BASE).named_parameters()]
    assert {key: rules[key].role for key in ROLES[name]} == ROLES[name]


@pytest.mark.parametrize(
    ("layer", "name", "expected"),
    [
        (nn.Linear(20, 50), "weight", Fans(20, 50)),
        (nn.Linear(20, 50), "bias", Fans(1, 50)),
        (nn.Conv2d(8, 16, 3), "weight", Fans(72, 16)),
        (nn.Conv2d(8, 16, 3, groups=8), "weight", Fans(9, 16)),
        (nn.Conv1d(8, 16, 3, groups=2), "weight", Fans(12, 16)),
        (nn.ConvTranspose2d(8, 16, 2), "weight", Fans(32, 16)),
        (nn.ConvTranspose2d(8, 16, 2, groups=4), "weight", Fans(8, 16)),
        (nn.ConvTranspose2d(8, 8, 2, groups=8), "weight", Fans(4, 8)),
        (nn.Embedding(100, 7), "weight", Fans(1, 7)),
        (nn.LSTM(3, 5, proj_size=2), "weight_hr_l0", Fans(5, 2)),
        (nn.LSTM(3, 5), "weight_hh_l0", Fans(5, 20)),
        (nn.GRUCell(3, 5), "weight_ih", Fans(3, 15)),
        (nn.MultiheadAttention(8, 2, kdim=6, vdim=4), "k_proj_weight", Fans(6, 8)),
        (nn.MultiheadAttention(8, 2, add_bias_kv=True), "bias_k", Fans(1, 8)),
        (nn.LayerNorm((3, 4)), "weight", Fans(1, 12)),
    ],
    ids=lambda value: str(value) if isinstance(value, Fans) else None,
)
def test_fans(layer: nn.Module, name: str, expected: Fans) -> None:
    assert parameter_fans(layer, name, layer.get_parameter(name).shape) == expected


class Named(nn.Module):
    """A user's own module with one parameter of a shape that follows the widths."""

    def __init__(self, *shape: int, scale: float = 1.0) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.randn(shape) * scale)


class Attending(nn.Module):
    """Attention by torch's function, of one head as long as the width."""

    def __init__(self, width: int, scale: float | None) -> None:
        super().__init__()
        self.project, self.scale = nn.Linear(4, width), scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)[:, None]
        return nn.functional.scaled_dot_product_attention(x, x, x, scale=self.scale)


def deep(widths: Widths) -> nn.Module:
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(widths["a"] // 8)))


def tied(widths: Widths) -> nn.Module:
    return TiedBigram(20, widths["a"])


def gpt2(widths: Widths) -> nn.Module:
    sizes = {"n_embd": widths["a"], "n_layer": 1, "n_head": 2, "vocab_size": 20, "n_positions": 8}
    return GPT2(bos_token_id=0, eos_token_id=0, **sizes)


def multihead(widths: Widths) -> nn.Module:
    return nn.MultiheadAttention(widths["a"], 2)


def reparametrised(widths: Widths) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(widths["a"], 5))


REFUSED: dict[str, tuple[Build, str]] = {
    "both axes of an unknown layer": (lambda w: Named(w["a"], w["b"]), "'own'"),
    "first axis of an unknown layer": (lambda w: Named(w["a"], 5), "'own'"),
    "an unknown size law": (lambda w: Named(5, w["a"], scale=w["a"] ** -0.5), "'own'"),
    "output tied to the embedding": (tied, "'embedding.weight' is shared"),
    "GPT-2": (gpt2, "'inner.transformer"),
    "number of layers": (deep, "'1.bias'"),
    "lazy layer": (lambda w: nn.Sequential(nn.LazyLinear(w["a"])), "lazy"),
    "weight norm": (reparametrised, "'parametrizations.weight.original"),
    "no width at all": (lambda _: nn.Linear(3, 5), "no parameter follows"),
    "bilinear": (lambda w: nn.Bilinear(w["a"], 3, 5), "'weight'"),
    "growing heads": (multihead, "attention heads (4 and 16)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_ambiguous_role_is_refused_by_name(case: str) -> None:
    build, name = REFUSED[case]
    with pytest.raises(MupInapplicable) as refusal:
        derive_mup(build, BASE, WIDENED)
    assert str(refusal.value).startswith("muP cannot be applied: ")
    assert name in str(refusal.value)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("scale", ["none", "constant", "1 / size"])
def test_attention_that_is_called_as_a_function_is_recorded(scale: str) -> None:
    def build(widths: Widths) -> nn.Module:
        size = widths["a"]
        return Attending(size, {"none": None, "constant": 0.2, "1 / size": 8 / size}[scale])

    inputs = torch.randn(3, 4)
    derive_mup(build, BASE, WIDENED)
    if scale == "1 / size":
        derive_mup(build, BASE, WIDENED, inputs=inputs)
    else:
        with pytest.raises(MupInapplicable, match="attention heads"):
            derive_mup(build, BASE, WIDENED, inputs=inputs)


def test_a_layer_that_is_used_twice_is_no_tie() -> None:
    def build(widths: Widths) -> nn.Module:
        shared = nn.Linear(widths["a"], widths["a"])
        first, second = nn.Linear(3, widths["a"]), nn.Linear(widths["a"], widths["a"])
        second.weight = shared.weight
        return nn.Sequential(first, shared, second, nn.Linear(widths["a"], 2))

    rules = derive_mup(build, BASE, WIDENED).rules
    assert rules["1.weight"].role == "hidden"
    assert "2.weight" not in rules
