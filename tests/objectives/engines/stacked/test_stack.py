"""Which modules may be padded: the probe passes the safe ones and refuses the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines.base import EngineUnsupported, Member, TrainingSetup
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import (
    CPU,
    assert_equal_sessions,
    family_objective,
    make_clusters,
)

Widths = Mapping[str, int]

FLAT = make_clusters()
IMAGES = make_clusters(shape=(2, 6, 6), rows=40)
WORDS = make_clusters(shape=(5, 4), rows=40)
DECAY_SETTINGS = ProxySettings(batch_size=16, weight_decay=0.1)
MEMBERS = [
    Member(widths={"a": a, "b": b, "c": c}, seed=n, learning_rate=0.003 * (n + 1))
    for n, (a, b, c) in enumerate(((4, 9, 2), (8, 3, 3), (5, 12, 1)))
]


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Attention(nn.Module):
    """Heads of a fixed size, as many as the width says."""

    def __init__(self, size: int, heads: int, per_head: int = 4) -> None:
        super().__init__()
        self.shape = (heads, per_head)
        self.query, self.key, self.value = (nn.Linear(size, heads * per_head) for _ in range(3))
        self.out = nn.Linear(heads * per_head, size)

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            layer(x).unflatten(-1, self.shape).transpose(-2, -3)
            for layer in (self.query, self.key, self.value)
        ]
        mixed = functional.scaled_dot_product_attention(*parts)
        return self.out(mixed.transpose(-2, -3).flatten(-2))


class Parallel(nn.Module):
    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(7, widths["a"]), nn.Linear(7, widths["b"])
        self.out = nn.Linear(widths["a"] + widths["b"], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.one(x), self.other(x)], -1).relu())


class Tied(nn.Module):
    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.first, self.again = (nn.Linear(7, widths["a"], bias=False) for _ in range(2))
        self.again.weight = self.first.weight
        self.back, self.out = nn.Linear(widths["a"], 7), nn.Linear(widths["a"], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.again(self.back(self.first(x).relu())))


class Idle(nn.Module):
    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(7, widths["a"]), nn.Linear(3, widths["a"])
        self.out = nn.Linear(widths["a"], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.used(x).tanh())


class Recurrent(nn.Module):
    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.cells = nn.LSTM(4, widths["a"], batch_first=True)
        self.out = nn.Linear(widths["a"], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cells(x)[0][:, -1])


class Stateful(nn.Linear):
    def get_extra_state(self) -> Any:
        return {"calls": 0}

    def set_extra_state(self, state: Any) -> None:
        pass


def between_linears(function: Callable[[Tensor], Tensor]) -> Callable[[Widths], nn.Module]:
    """A dense network that applies a function to its hidden units."""
    return lambda widths: nn.Sequential(
        nn.Linear(7, widths["a"]), Applied(function), nn.Linear(widths["a"], 3)
    )


def transformer(norm: Callable[[int], nn.Module]) -> Callable[[Widths], nn.Module]:
    def build(widths: Widths) -> nn.Module:
        size, inner, heads = widths["a"], widths["b"], widths["c"]
        feed = [nn.Linear(size, inner), nn.GELU(), nn.Dropout(0.1), nn.Linear(inner, size)]
        return nn.Sequential(
            nn.Linear(4, size),
            Residual(nn.Sequential(norm(size), Attention(size, heads))),
            Residual(nn.Sequential(norm(size), *feed)),
            norm(size),
            Applied(lambda x: x.mean(-2)),
            nn.Linear(size, 3),
        )

    return build


def encoder(widths: Widths) -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, widths["b"], dropout=0.0, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(20, 3))


def convolutions(widths: Widths) -> nn.Module:
    a, b = widths["a"], widths["b"]
    body = [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.SiLU()]
    return nn.Sequential(
        nn.Conv2d(2, a, 3, padding=1, bias=False),
        Residual(nn.Sequential(*body, nn.Conv2d(b, a, 1, bias=False), nn.BatchNorm2d(a))),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(a, a, 3, groups=a),
        nn.Dropout2d(0.2),
        nn.Flatten(),
        nn.Linear(a, 3),
    )


def globally_pooled(widths: Widths) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, widths["a"], 3, padding=1, bias=False),
        nn.BatchNorm2d(widths["a"]),
        nn.ReLU(),
        nn.Conv2d(widths["a"], widths["b"], 3, padding=1),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(widths["b"], 3),
    )


def groups(of: Callable[[int], int]) -> Callable[[Widths], nn.Module]:
    def build(widths: Widths) -> nn.Module:
        channels = 2 * widths["a"]
        layers = [nn.Conv2d(2, channels, 3), nn.GroupNorm(of(channels), channels), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * channels, 3))

    return build


def frozen(widths: Widths) -> nn.Module:
    model = nn.Sequential(
        nn.Linear(7, widths["a"]), nn.PReLU(widths["a"]), nn.Linear(widths["a"], 3)
    )
    model[0].weight.requires_grad_(False)
    return model


def stateful(widths: Widths) -> nn.Module:
    return nn.Sequential(nn.Linear(7, widths["a"]), Stateful(widths["a"], 3))


def counting_norm(widths: Widths) -> nn.Module:
    norm = nn.BatchNorm1d(widths["a"], momentum=None)
    return nn.Sequential(nn.Linear(7, widths["a"]), norm, nn.Linear(widths["a"], 3))


def objective(build: Callable[[Widths], nn.Module], data: Data) -> ModuleObjective:
    return replace(
        family_objective("mlp", data),
        builder=lambda widths: build(widths).to(data.train.inputs.dtype),
    )


SAFE: dict[str, tuple[Callable[[Widths], nn.Module], Data]] = {
    "residual, depthwise and pooled": (convolutions, IMAGES),
    "groups of a fixed size": (groups(lambda channels: channels // 2), IMAGES),
    "transformer, layer norm": (transformer(nn.LayerNorm), WORDS),
    "transformer, rms norm": (transformer(nn.RMSNorm), WORDS),
    "encoder layer of one size": (encoder, WORDS),
    "tied weights": (Tied, FLAT),
    "frozen weights": (frozen, FLAT),
    "cosine": (between_linears(torch.cos), FLAT),
    "softplus": (between_linears(functional.softplus), FLAT),
    "infinite slope at zero": (between_linears(lambda x: x.relu().sqrt()), FLAT),
    "length over the width": (between_linears(lambda x: functional.normalize(x, dim=-1)), FLAT),
}


@pytest.mark.parametrize("name", SAFE)
def test_safe_modules_train_as_in_the_plain_engine(name: str) -> None:
    # A key's bias has no gradient but rounding, which Adam enlarges.
    tolerance = 1e-7 if "transformer" in name or "encoder" in name else 1e-9
    engine = StackedEngine(overhead_macs=float("inf"))
    assert_equal_sessions(
        engine, objective(*SAFE[name]), MEMBERS, DECAY_SETTINGS, epochs=2, tolerance=tolerance
    )


UNSAFE: dict[str, tuple[Callable[[Widths], nn.Module], Data, str]] = {
    "softmax": (between_linears(lambda x: x.softmax(-1)), FLAT, "differs"),
    "mean": (between_linears(lambda x: x - x.mean(-1, keepdim=True)), FLAT, "differs"),
    "deviation": (between_linears(lambda x: x / (1 + x.std(-1, keepdim=True))), FLAT, "differs"),
    "largest": (between_linears(lambda x: x - x.amax(-1, keepdim=True)), FLAT, "differs"),
    "smallest": (between_linears(lambda x: x - x.amin(-1, keepdim=True)), FLAT, "differs"),
    "median": (between_linears(lambda x: x - x.median(-1, keepdim=True)[0]), FLAT, "differs"),
    "order": (between_linears(lambda x: x.flip(-1)), FLAT, "differs"),
    "norm as a function": (
        between_linears(lambda x: functional.layer_norm(x, x.shape[-1:])),
        FLAT,
        "diff",
    ),
    "concatenation": (Parallel, FLAT, "differs"),
    "groups of a fixed number": (groups(lambda _: 2), IMAGES, "differs"),
    "random": (between_linears(lambda x: x + torch.rand_like(x)), FLAT, "random"),
    "control flow": (between_linears(lambda x: x if x.sum() > 0 else -x), FLAT, "control flow"),
    "number taken out": (between_linears(lambda x: x * float(x.sum())), FLAT, "item"),
    "counting batch norm": (counting_norm, FLAT, "item"),
    "idle weights that decay": (Idle, FLAT, "'idle.weight' takes no part"),
    "recurrent": (Recurrent, WORDS, "lstm"),
    "state of its own": (stateful, FLAT, "'1._extra_state' is neither"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_modules_are_refused(name: str) -> None:
    build, data, sentence = UNSAFE[name]
    training = TrainingSetup(
        objective=objective(build, data), data=data, settings=DECAY_SETTINGS, device=CPU
    )
    with pytest.raises(EngineUnsupported, match=sentence):
        StackedEngine(overhead_macs=float("inf")).start(training, MEMBERS)


@pytest.mark.parametrize("members", [MEMBERS, MEMBERS[:1]], ids=["three networks", "one network"])
def test_global_average_pooling_of_channels_last_images_is_safe(members: list[Member]) -> None:
    def channels_last(split: Split) -> Split:
        return replace(split, inputs=split.inputs.to(memory_format=torch.channels_last))

    assert IMAGES.test is not None
    images = replace(
        IMAGES,
        train=channels_last(IMAGES.train),
        validation=channels_last(IMAGES.validation),
        test=channels_last(IMAGES.test),
    )
    assert_equal_sessions(
        StackedEngine(overhead_macs=float("inf")),
        objective(globally_pooled, images),
        members,
        DECAY_SETTINGS,
        epochs=2,
        tolerance=1e-9,
    )


def test_a_concatenation_whose_first_part_never_varies_is_safe() -> None:
    members = [replace(member, widths={**member.widths, "a": 5}) for member in MEMBERS]
    engine = StackedEngine(overhead_macs=float("inf"))
    assert_equal_sessions(engine, objective(Parallel, FLAT), members, DECAY_SETTINGS, epochs=2)


def test_idle_weights_without_decay_stay_as_they_are() -> None:
    engine, proxy = (
        StackedEngine(overhead_macs=float("inf")),
        replace(DECAY_SETTINGS, weight_decay=0.0),
    )
    assert_equal_sessions(engine, objective(Idle, FLAT), MEMBERS, proxy, epochs=2)


def test_a_bias_before_batch_norm_changes_no_output() -> None:
    def build(widths: Widths) -> nn.Module:
        layers = [nn.Linear(7, widths["a"]), nn.BatchNorm1d(widths["a"]), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths["a"], 3))

    engine = StackedEngine(overhead_macs=float("inf"))
    assert_equal_sessions(
        engine, objective(build, FLAT), MEMBERS, DECAY_SETTINGS, epochs=2, tolerance=1e-7
    )
