"""The family `resnet`: stages of residual blocks for images.

Each stage has one width, its channels, and `depth` blocks of two 3x3 convolutions with batch norm
(He et al., Deep Residual Learning for Image Recognition, 2016). From the second stage on the first
block halves the sides while they are 4 or more, and its shortcut is a 1x1 convolution, between
equal channels, too: so all candidates have the same layers, muP holds for all of them, and no cost
falls where a width grows.

    widths: the channels of each stage, in their order; depth, the blocks of a stage

Entry point: `build_resnet`; `model.family_registry` names it.
"""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from .activations import ACTIVATIONS
from .feedforward import MIN_POOLED_SIDE
from .width_names import DEPTH


def build_resnet(
    widths: Mapping[str, int],
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Return a residual network for images `[c, h, w]`.

    Args:
        widths: Channels of each stage in order; and maybe `depth`, the blocks of each stage, 1
            unless given.
        input_shape: `(channels, height, width)`.
        outputs: Classes, or quantities to predict.
        activation: After each norm.
        dropout: Share of the last features that is dropped.
    """
    blocks = widths.get(DEPTH, 1)
    channels = [width for name, width in widths.items() if name != DEPTH]
    in_channels, *sides = input_shape
    layers: list[nn.Module] = [
        *_convolution(in_channels, channels[0]),
        ACTIVATIONS[activation](),
    ]
    in_channels = channels[0]
    for stage, width in enumerate(channels):
        halves = stage > 0 and min(sides) >= MIN_POOLED_SIDE
        if halves:
            sides = [(side + 1) // 2 for side in sides]
        for block in range(blocks):
            stride = 2 if halves and block == 0 else 1
            projects = stage > 0 and block == 0
            layers.append(ResidualBlock(in_channels, width, stride, activation, projects=projects))
            in_channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(in_channels, outputs))


@final
class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: the identity, or a projection."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, activation: str, *, projects: bool
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(
            *_convolution(in_channels, channels, stride), ACTIVATIONS[activation]()
        )
        self.second = nn.Sequential(*_convolution(channels, channels))
        self.shortcut: nn.Module = nn.Identity()
        if projects:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Return [rows, channels, height, width]."""
        return self.activation(self.second(self.first(x)) + self.shortcut(x))  # type: ignore[no-any-return]


def _convolution(in_channels: int, channels: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    ]
