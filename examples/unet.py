"""Find the strokes of handwritten digits in noise: a logit for each pixel."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset


def load():
    digits = torch.tensor(load_digits().images, dtype=torch.float32)[:600] / 16
    masks = nn.functional.interpolate((digits[:, None] > 0.5).float(), scale_factor=2)
    noise = torch.rand(masks.shape, generator=torch.Generator().manual_seed(0))
    images = 0.5 * masks + noise
    data = TensorDataset(images, masks.long())
    return torch.utils.data.Subset(data, range(450)), torch.utils.data.Subset(data, range(450, 600))


def convolution(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, top, bottom):
        super().__init__()
        self.down, self.pool = convolution(1, top), nn.MaxPool2d(2)
        self.bottom = convolution(top, bottom)
        self.up = nn.Upsample(scale_factor=2)
        self.merge = convolution(top + bottom, top)
        self.head = nn.Conv2d(top, 1, 1)

    def forward(self, image):
        skip = self.down(image)
        deep = self.up(self.bottom(self.pool(skip)))
        return self.head(self.merge(torch.cat([skip, deep], dim=1)))


def build(widths):
    return UNet(widths["top"], widths["bottom"])
