"""Convolutional networks: VGG, ResNet, MobileNet, ShuffleNet, DenseNet, U-Net, DCGAN, ESPCN."""

import torch
from torch import Tensor, nn

from .architecture import Architecture, Width, numbers


def vgg(a: int = 6, b: int = 8, c: int = 10, hidden: int = 14) -> nn.Module:
    """Return convolutions, pooling, a flatten and two linear layers, all in one `Sequential`."""
    return nn.Sequential(
        *(nn.Conv2d(3, a, 3, padding=1), nn.BatchNorm2d(a), nn.ReLU(inplace=True)),
        *(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True)),
        nn.MaxPool2d(2),
        *(nn.Conv2d(b, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(inplace=True)),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *(nn.Linear(c * 2 * 2, hidden), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        nn.Linear(hidden, 4),
    )


VGG = Architecture(
    make=lambda: vgg(),
    build=vgg,
    inputs=(numbers(3, 8, 8),),
    widths=(
        Width("a", 6, "0.*:0 1.*:0 3.weight:1", called=("layer0",)),
        Width("b", 8, "3.*:0 4.*:0 7.weight:1", called=("layer3",)),
        Width("c", 10, "7.*:0 8.*:0 12.weight:1", called=("layer7",)),
        Width("hidden", 14, "12.*:0 15.weight:1", called=("layer12",)),
    ),
    fixed={"0": "input size", "15": "output size"},
)


class Bottleneck(nn.Module):
    """Narrow, 3x3, wide; a projection where the shapes differ."""

    def __init__(self, inputs: int, squeeze: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, squeeze, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(squeeze)
        self.conv2 = nn.Conv2d(squeeze, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNet(nn.Module):
    """A stem and two stages of two bottlenecks."""

    def __init__(
        self,
        stem: int = 5,
        squeeze1: int = 4,
        inner1: int = 4,
        stage1: int = 16,
        squeeze2: int = 6,
        inner2: int = 6,
        stage2: int = 24,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = nn.Sequential(
            Bottleneck(stem, squeeze1, inner1, stage1, 1),
            Bottleneck(stage1, squeeze1, inner1, stage1, 1),
        )
        self.layer2 = nn.Sequential(
            Bottleneck(stage1, squeeze2, inner2, stage2, 2),
            Bottleneck(stage2, squeeze2, inner2, stage2, 1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(stage2, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


RESNET = Architecture(
    make=lambda: ResNet(),
    build=ResNet,
    inputs=(numbers(3, 8, 8),),
    widths=(
        Width(
            "stem",
            5,
            "conv1.*:0 bn1.*:0 layer1.0.conv1.weight:1 layer1.0.downsample.0.weight:1",
            called=("conv1",),
        ),
        Width(
            "squeeze1",
            4,
            "layer1.*.conv1.*:0 layer1.*.bn1.*:0 layer1.*.conv2.weight:1",
            called=("layer1.conv1",),
        ),
        Width(
            "inner1",
            4,
            "layer1.*.conv2.*:0 layer1.*.bn2.*:0 layer1.*.conv3.weight:1",
            called=("layer1.conv2",),
        ),
        Width(
            "stage1",
            16,
            "layer1.*.conv3.*:0 layer1.*.bn3.*:0 layer1.*.downsample.*:0 layer1.1.conv1.weight:1"
            " layer2.0.conv1.weight:1 layer2.0.downsample.0.weight:1",
            called=("layer1",),
        ),
        Width(
            "squeeze2",
            6,
            "layer2.*.conv1.*:0 layer2.*.bn1.*:0 layer2.*.conv2.weight:1",
            called=("layer2.conv1",),
        ),
        Width(
            "inner2",
            6,
            "layer2.*.conv2.*:0 layer2.*.bn2.*:0 layer2.*.conv3.weight:1",
            called=("layer2.conv2",),
        ),
        Width(
            "stage2",
            24,
            "layer2.*.conv3.*:0 layer2.*.bn3.*:0 layer2.*.downsample.*:0 layer2.1.conv1.weight:1"
            " fc.weight:1",
            called=("layer2",),
        ),
    ),
    fixed={"conv1": "input size", "fc": "output size"},
)


class SqueezeExcite(nn.Module):
    """Channels weighted by what the whole picture says."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.expand(torch.relu(self.reduce(scale))))


class InvertedResidual(nn.Module):
    """Expand, depthwise padded as TensorFlow does, squeeze-excite, project."""

    def __init__(self, inputs: int, expanded: int, reduced: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.residual = stride == 1 and inputs == outputs
        self.expand = nn.Conv2d(inputs, expanded, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(expanded)
        self.depthwise = nn.Conv2d(expanded, expanded, 3, stride, groups=expanded, bias=False)
        self.bn2 = nn.BatchNorm2d(expanded)
        self.excite = SqueezeExcite(expanded, reduced)
        self.project = nn.Conv2d(expanded, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.hardswish(self.bn1(self.expand(x)))
        y = nn.functional.pad(y, (0, 1, 0, 1) if self.stride == 2 else (1, 1, 1, 1))
        y = nn.functional.hardswish(self.bn2(self.depthwise(y)))
        y = self.bn3(self.project(self.excite(y)))
        return x + y if self.residual else y


Row = tuple[int, int, int, int]
"""Expanded and reduced channels, channels out, stride."""


class MobileNet(nn.Module):
    """A stem, two inverted residuals that change the width, one that keeps it."""

    def __init__(self, stem: int, rows: tuple[Row, Row, Row]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, stem, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(stem)
        self.down1 = InvertedResidual(stem, *rows[0])
        self.down2 = InvertedResidual(rows[0][2], *rows[1])
        self.keep = InvertedResidual(rows[1][2], *rows[2])
        self.classifier = nn.Linear(rows[2][2], 7)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.hardswish(self.bn(self.stem(x)))
        return self.classifier(self.keep(self.down2(self.down1(x))).mean((2, 3)))


def mobilenet(
    *,
    stem: int = 4,
    down1_expand: int = 8,
    down1_reduced: int = 3,
    down1: int = 6,
    down2_expand: int = 18,
    down2_reduced: int = 5,
    down2: int = 9,
    keep_expand: int = 19,
    keep_reduced: int = 7,
) -> nn.Module:
    """Return one with these channels."""
    rows = (
        (down1_expand, down1_reduced, down1, 2),
        (down2_expand, down2_reduced, down2, 2),
        (keep_expand, keep_reduced, down2, 1),
    )
    return MobileNet(stem, rows)


def _inverted_residual(path: str, expanded: int, reduced: int) -> tuple[Width, Width]:
    return (
        Width(
            f"{path}_expand",
            expanded,
            f"{path}.expand.weight:0 {path}.bn1.*:0 {path}.depthwise.weight:0 {path}.bn2.*:0"
            f" {path}.excite.reduce.weight:1 {path}.excite.expand.*:0 {path}.project.weight:1",
            called=(f"{path}.expand",),
        ),
        Width(
            f"{path}_reduced",
            reduced,
            f"{path}.excite.reduce.*:0 {path}.excite.expand.weight:1",
            called=(f"{path}.excite.reduce",),
        ),
    )


MOBILENET = Architecture(
    make=lambda: mobilenet(),
    build=mobilenet,
    inputs=(numbers(3, 16, 16),),
    widths=(
        Width("stem", 4, "stem.weight:0 bn.*:0 down1.expand.weight:1"),
        *_inverted_residual("down1", 8, 3),
        Width(
            "down1",
            6,
            "down1.project.weight:0 down1.bn3.*:0 down2.expand.weight:1",
            called=("down1.project",),
        ),
        *_inverted_residual("down2", 18, 5),
        Width(
            "down2",
            9,
            "down2.project.weight:0 down2.bn3.*:0 keep.expand.weight:1 keep.project.weight:0"
            " keep.bn3.*:0 classifier.weight:1",
            called=("down2.project",),
        ),
        *_inverted_residual("keep", 19, 7),
    ),
    fixed={"stem": "input size", "classifier": "output size"},
)


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise, grouped 1x1, and the way around."""

    def __init__(self, channels: int, inner: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.compress = nn.Conv2d(channels, inner, 1, groups=groups)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.expand = nn.Conv2d(inner, channels, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.compress(x))
        batch, channels, height, width = y.shape
        y = y.view(batch, self.groups, channels // self.groups, height, width)
        y = y.transpose(1, 2).reshape(batch, channels, height, width)
        return torch.relu(x + self.expand(self.depthwise(y)))


class ShuffleNet(nn.Module):
    """A stem and two units."""

    def __init__(self, channels: int = 12, inner: int = 6, groups: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.units = nn.ModuleList([ShuffleUnit(channels, inner, groups) for _ in range(2)])
        self.fc = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for unit in self.units:
            x = unit(x)
        return self.fc(x.mean(dim=[2, 3]))


SHUFFLENET = Architecture(
    make=ShuffleNet,
    build=ShuffleNet,
    inputs=(numbers(1, 6, 6),),
    widths=(
        Width(
            "channels",
            12,
            "stem.*:0 units.*.compress.weight:1 units.*.expand.*:0 fc.weight:1",
            multiple_of=3,
        ),
        Width(
            "inner",
            6,
            "units.*.compress.*:0 units.*.depthwise.*:0 units.*.expand.weight:1",
            multiple_of=3,
        ),
    ),
    fixed={"stem": "input size", "fc": "output size"},
)


class DenseLayer(nn.Module):
    """Norm, 1x1, norm, 3x3."""

    def __init__(self, inputs: int, inner: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))


class DenseNet(nn.Module):
    """A stem, three layers that see all before them, a transition."""

    def __init__(self, stem: int = 6, inner: int = 8, growth: int = 4, transition: int = 9) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, stem, 3, padding=1)
        self.layers = nn.ModuleList(
            [DenseLayer(stem + index * growth, inner, growth) for index in range(3)]
        )
        self.transition = nn.Conv2d(stem + 3 * growth, transition, 1)
        self.fc = nn.Linear(transition, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = self.transition(torch.cat(features, 1))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1))


DENSENET = Architecture(
    make=DenseNet,
    build=DenseNet,
    inputs=(numbers(3, 6, 6),),
    widths=(
        Width(
            "stem",
            6,
            "stem.*:0 layers.*.norm1.*:0 layers.*.conv1.weight:1 transition.weight:1",
        ),
        Width(
            "inner",
            8,
            "layers.*.conv1.*:0 layers.*.norm2.*:0 layers.*.conv2.weight:1",
            called=("layers.conv1",),
        ),
        Width(
            "growth",
            4,
            "layers.*.conv2.*:0 layers.1.norm1.*:0 layers.2.norm1.*:0 layers.1.conv1.weight:1"
            " layers.2.conv1.weight:1 transition.weight:1",
        ),
        Width("transition", 9, "transition.*:0 fc.weight:1"),
    ),
    fixed={"stem": "input size", "fc": "output size"},
)


class UNet(nn.Module):
    """Down twice, up twice, with skips that are concatenated."""

    def __init__(self, top: int = 5, low: int = 7, up: int = 6, last: int = 8) -> None:
        super().__init__()
        self.enc1 = nn.Sequential(nn.Conv2d(1, top, 3, padding=1), nn.ReLU())
        self.enc2 = nn.Sequential(nn.Conv2d(top, low, 3, padding=1), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(low, up, 2, stride=2)
        self.dec = nn.Sequential(nn.Conv2d(top + up, last, 3, padding=1), nn.GroupNorm(2, last))
        self.out = nn.Conv2d(last, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.enc1(x)
        y = self.up(self.enc2(self.pool(skip)))
        return self.out(torch.relu(self.dec(torch.cat([skip, y], dim=1))))


UNET = Architecture(
    make=UNet,
    build=UNet,
    inputs=(numbers(1, 8, 8),),
    widths=(
        Width("top", 5, "enc1.0.*:0 enc2.0.weight:1 dec.0.weight:1", called=("enc1", "enc1.0")),
        Width("low", 7, "enc2.0.*:0 up.weight:0", called=("enc2", "enc2.0")),
        Width("up", 6, "up.weight:1 up.bias:0 dec.0.weight:1"),
        Width("last", 8, "dec.0.*:0 dec.1.*:0 out.weight:1", 2, called=("dec", "dec.0")),
    ),
    fixed={"enc1.0": "input size", "out": "output size"},
)


class Generator(nn.Module):
    """A DCGAN's generator: from noise to pictures."""

    def __init__(self, latent: int = 10, first: int = 12, second: int = 6) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(latent, first, 4, 1, 0, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(True),
            nn.ConvTranspose2d(first, second, 4, 2, 1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(True),
            nn.ConvTranspose2d(second, 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        return self.main(noise)


DCGAN = Architecture(
    make=Generator,
    build=lambda first=12, second=6: Generator(10, first, second),
    inputs=(numbers(10, 1, 1),),
    widths=(
        Width("first", 12, "main.0.weight:1 main.1.*:0 main.3.weight:0", called=("main_0",)),
        Width("second", 6, "main.3.weight:1 main.4.*:0 main.6.weight:0", called=("main_3",)),
    ),
    fixed={"main.0": "input size", "main.6": "output size"},
)


class SuperResolution(nn.Module):
    """Pictures made larger by a pixel shuffle (ESPCN)."""

    def __init__(self, features: int = 8, shuffled: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, features, 5, padding=2)
        self.conv2 = nn.Conv2d(features, shuffled * 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.conv3 = nn.Conv2d(shuffled, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(torch.relu(self.shuffle(self.conv2(torch.tanh(self.conv1(x))))))


ESPCN = Architecture(
    make=SuperResolution,
    build=SuperResolution,
    inputs=(numbers(1, 5, 5),),
    widths=(
        Width("features", 8, "conv1.*:0 conv2.weight:1", called=("conv1",)),
        Width("shuffled", 3, "conv2.*:0 conv3.weight:1", called=("conv2", "conv3")),
    ),
    fixed={"conv1": "input size", "conv3": "output size"},
)
