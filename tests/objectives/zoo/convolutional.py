"""DCGAN's generator and U-Net: transposed convolutions, skip connections, crops."""

from itertools import pairwise

import torch
from torch import Tensor, nn

DCGAN = (100, 512, 256, 128, 64, 3)
"""Noise, the widths of four layers, and the channels of the image."""

UNET = (64, 128, 256, 512, 1024)
"""Channels of each level, from the image's size down."""


class Generator(nn.Module):
    """DCGAN's generator of 64 × 64 images (Radford et al. 2016), in the widths of torch's example.

    The first layer makes 4 × 4 out of one position of noise, each other one doubles the side.
    """

    def __init__(self, widths: tuple[int, ...] = DCGAN) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            stride, padding = (1, 0) if index == 0 else (2, 1)
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-2], nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class DoubleConv(nn.Sequential):
    """Two 3 × 3 convolutions without padding, each followed by a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        first, second = nn.Conv2d(inputs, outputs, 3), nn.Conv2d(outputs, outputs, 3)
        super().__init__(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015): unpadded, so 572 × 572 in and 388 × 388 out."""

    def __init__(self, widths: tuple[int, ...] = UNET, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        sizes = (channels, *widths)
        self.down = nn.ModuleList(DoubleConv(a, b) for a, b in pairwise(sizes))
        self.pool = nn.MaxPool2d(2)
        steps = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in steps)
        self.merge = nn.ModuleList(DoubleConv(2 * b, b) for _, b in steps)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skipped: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skipped.append(x)
        skipped.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = up(x)
            side = skipped.pop()
            start = (side.shape[-1] - x.shape[-1]) // 2
            end = start + x.shape[-1]
            x = merge(torch.cat([side[..., start:end, start:end], x], 1))
        return self.head(x)
