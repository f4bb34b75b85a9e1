"""MobileNetV2 (Sandler et al. 2018), table 2 of the paper."""

from torch import Tensor, nn

STEM, LAST = 32, 1280
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first block."""


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Module:
    """Return convolution, batch norm and ReLU6."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; beside the identity where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [] if expansion == 1 else [conv_norm(inputs, inner, 1, 1)]
        self.body = nn.Sequential(
            *expand,
            conv_norm(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class MobileNetV2(nn.Module):
    """The whole classifier; `divide` makes every width but the classes a whole part of itself."""

    def __init__(
        self,
        classes: int = 1000,
        divide: int = 1,
        stages: tuple[tuple[int, int, int, int], ...] = STAGES,
    ) -> None:
        super().__init__()
        incoming = STEM // divide
        self.stem = conv_norm(3, incoming, 3, 2)
        blocks = []
        for expansion, channels, repeats, stride in stages:
            for block in range(repeats):
                outputs = channels // divide
                first = stride if block == 0 else 1
                blocks.append(InvertedResidual(incoming, outputs, first, expansion))
                incoming = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = conv_norm(incoming, LAST // divide, 1, 1)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(LAST // divide, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.last(self.blocks(self.stem(x)))))
