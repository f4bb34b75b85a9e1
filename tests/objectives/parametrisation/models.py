"""Models of searched widths: every kind of layer whose axes have to be distinguished."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from widthwise.objectives.model.families.feedforward import build_cnn, build_mlp
from widthwise.tests.objectives.zoo.attention import VisionTransformer, encoder
from widthwise.tests.objectives.zoo.convolutional import Generator, UNet
from widthwise.tests.objectives.zoo.resnet import RESNET50, ResNet
from widthwise.tests.objectives.zoo.small import Recurrent, TwoHeads
from widthwise.tests.objectives.zoo.spaces import DepthwiseResidual

Widths = Mapping[str, int]
Build = Callable[[Widths], nn.Module]


def mlp(widths: Widths) -> nn.Module:
    return build_mlp(widths, input_shape=(20,), outputs=5)


def normed_mlp(widths: Widths) -> nn.Module:
    return build_mlp(widths, input_shape=(20,), outputs=5, norm="layer")


def batch_mlp(widths: Widths) -> nn.Module:
    return build_mlp(widths, input_shape=(20,), outputs=5, norm="batch")


def cnn(widths: Widths) -> nn.Module:
    return build_cnn(widths, input_shape=(3, 8, 8), outputs=5)


def two_heads(widths: Widths) -> nn.Module:
    return TwoHeads(20, widths["a"], widths["b"], 5)


def lstm(widths: Widths) -> nn.Module:
    return Recurrent(nn.LSTM, 6, widths["a"], 2, 5)


def gru(widths: Widths) -> nn.Module:
    return Recurrent(nn.GRU, 6, widths["a"], 1, 5)


def generator(widths: Widths) -> nn.Module:
    return Generator((10, widths["a"], widths["b"], 3))


def unet(widths: Widths) -> nn.Module:
    return UNet((widths["a"], 2 * widths["a"]), 1, 5)


def resnet(widths: Widths) -> nn.Module:
    sizes = {name: widths["a"] * (4 if "outer" in name else 1) for name in RESNET50}
    return ResNet(sizes, (1, 1), 5)


def torch_encoder(widths: Widths) -> nn.Module:
    """Heads of 4, more of them as the width grows."""
    return encoder(widths["a"], widths["a"] // 4, widths["b"], 1)


def vision_transformer(widths: Widths) -> nn.Module:
    return VisionTransformer(
        side=8,
        patch=4,
        heads=widths["a"] // 4,
        head_size=4,
        hidden=widths["b"],
        layers=1,
        classes=5,
    )


class TokenClassifier(nn.Module):
    """An embedding, learnt positions, a scale of each channel and a classifier."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        width = widths["a"]
        self.embedding = nn.Embedding(30, width)
        self.positions = nn.Parameter(torch.randn(7, width) * 0.02)
        self.scale = nn.Parameter(torch.full((width, 1), 0.1))
        self.slope = nn.PReLU()
        self.hidden = nn.Linear(width, widths["b"])
        self.head = nn.Linear(widths["b"], 5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.positions
        x = x * self.scale[:, 0]
        return self.head(self.slope(self.hidden(x)).mean(1))


BUILDS: dict[str, Build] = {
    "mlp": mlp,
    "mlp with layer norm": normed_mlp,
    "mlp with batch norm": batch_mlp,
    "cnn": cnn,
    "two heads": two_heads,
    "LSTM": lstm,
    "GRU": gru,
    "DCGAN": generator,
    "U-Net": unet,
    "ResNet": resnet,
    "depthwise": lambda widths: DepthwiseResidual({"outer": widths["a"], "inner": widths["b"]}),
    "torch's encoder": torch_encoder,
    "ViT": vision_transformer,
    "words": TokenClassifier,
}

BASE = {"a": 8, "b": 12}
WIDENED = ({"a": 32, "b": 12}, {"a": 8, "b": 48}, {"a": 32, "b": 24})
"""Candidates that move each width by itself, and both."""
