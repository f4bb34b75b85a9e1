"""The families `mlp` and `cnn`: layers one after the other.

`mlp` flattens its inputs and stacks Linear - norm - activation - dropout; `cnn` takes images and
stacks 3x3 convolutions, halving the side after each while it is 4 or more. Widths count in the
space's declared order, whatever their names; a width of 0 is a layer that is not there. The last
layer has one output per class or column.

Entry points: `build_mlp`, `build_cnn`; `model.family_registry` names them.
"""

from collections.abc import Callable, Mapping
from math import prod

from torch import nn

from .activations import ACTIVATIONS

MLP_NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}

MIN_POOLED_SIDE = 4
"""Shortest image side, in pixels, that is still halved."""


def build_mlp(
    widths: Mapping[str, int],
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    activation: str = "relu",
    dropout: float = 0.0,
    norm: str = "none",
) -> nn.Module:
    """Return a multi-layer perceptron with one hidden layer per width that is not 0."""
    layers: list[nn.Module] = [nn.Flatten()]
    in_features = prod(input_shape)
    for width in widths.values():
        if width == 0:
            continue
        # Batch norm takes the mean away: a bias before it would have no gradient but rounding.
        layers.append(nn.Linear(in_features, width, bias=norm != "batch"))
        if norm != "none":
            layers.append(MLP_NORMS[norm](width))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        in_features = width
    return nn.Sequential(*layers, nn.Linear(in_features, outputs))


def build_cnn(
    widths: Mapping[str, int],
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Return a convolutional network for images `[c, h, w]`: a 3x3 block per width but 0."""
    in_channels, *sides = input_shape
    layers: list[nn.Module] = []
    for width in widths.values():
        if width == 0:
            continue
        layers.append(nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False))
        layers.append(nn.BatchNorm2d(width))
        layers.append(ACTIVATIONS[activation]())
        if min(sides) >= MIN_POOLED_SIDE:
            layers.append(nn.MaxPool2d(2))
            sides = [side // 2 for side in sides]
        in_channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(in_channels, outputs))
