"""Junctions: found on the running model, whatever its code; refused with the reason."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.growth.junctions import Junction, NoJunction, find_junction
from widthwise.objectives.growth.layers import find_layers
from widthwise.objectives.growth.samples import Samples


def junction_of(model: nn.Module, name: str, *shape: int) -> Junction:
    torch.manual_seed(0)
    samples = Samples(inputs=[torch.randn(4, *shape)], targets=torch.zeros(4))
    model.eval()
    layers = find_layers(model, samples)
    writer = next(layer for layer in layers if layer.name == name)
    with torch.no_grad():
        return find_junction(model, layers, writer, samples)


class Functional(nn.Module):
    """Layers that are called in another order than they are made in, joined by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 2)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.middle = nn.Conv2d(6, 6, 1)
        self.first = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.relu(self.norm(self.first(x)), inplace=True)
        hidden = self.middle(nn.functional.max_pool2d(self.depthwise(hidden), 2))
        output: Tensor = self.last(hidden.mean((2, 3)))
        return output


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Linear(5, 4), nn.Linear(4, 7)
        self.back, self.head = nn.Linear(7, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.stem(x)
        stream = stream + self.back(self.inner(stream).relu())
        output: Tensor = self.head(stream)
        return output


class Steps(nn.Module):
    """Features of steps, flattened in turns: step 0's features, then step 1's."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.head = nn.Linear(3, 4), nn.Linear(5 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.step(x).tanh().flatten(1))
        return output


def test_functions_norms_pooling_and_depthwise_convolutions_are_passed() -> None:
    assert junction_of(Functional(), "middle", 1, 8, 8).reader.name == "last"
    # A depthwise convolution has a kernel for each channel, so that its width follows.
    with pytest.raises(NoJunction, match="read by a Conv2d, whose parts depend on its width"):
        junction_of(Functional(), "first", 1, 8, 8)


def test_the_inner_layer_of_a_residual_block_can_grow_and_the_stream_cannot() -> None:
    assert junction_of(Residual(), "inner", 5).reader.name == "back"
    with pytest.raises(NoJunction, match="more than one layer reads it"):
        junction_of(Residual(), "stem", 5)


def test_flattened_channels_and_flattened_steps() -> None:
    convolution = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4, 2))
    assert junction_of(convolution, "0", 1, 4, 4).features.tolist() == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    assert junction_of(Steps(), "step", 5, 3).features[1].tolist() == [1, 5, 9, 13, 17]


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)), "1", "the last layer"),
        (
            nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
            "0",
            "mixed before the next layer",
        ),
        (
            nn.Sequential(nn.Linear(5, 4), nn.Softmax(-1), nn.Linear(4, 2)),
            "0",
            "mixed before the next layer",
        ),
        (nn.Sequential(*[nn.Linear(5, 5)] * 2, nn.Linear(5, 2)), "0", "more than once"),
    ],
    ids=["last", "layer norm", "softmax", "shared"],
)
def test_where_there_is_none(model: nn.Module, name: str, reason: str) -> None:
    with pytest.raises(NoJunction, match=reason):
        junction_of(model, name, 5)


def test_what_is_joined_with_other_features_is_left_alone() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = nn.Linear(5, 4), nn.Linear(9, 2)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.head(torch.cat([self.hidden(x), x], dim=1))
            return output

    with pytest.raises(NoJunction, match="joined with other features"):
        junction_of(Joined(), "hidden", 5)
