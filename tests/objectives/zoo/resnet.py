"""ResNet-50 (He et al. 2016), the stride on the 3 × 3 convolution as in the models published since.

Nine widths: the stem's, and of each of the four stages the inner width and the outer one.
"""

from collections.abc import Mapping

from torch import Tensor, nn

RESNET50: Mapping[str, int] = {
    "stem": 64,
    "inner1": 64,
    "outer1": 256,
    "inner2": 128,
    "outer2": 512,
    "inner3": 256,
    "outer3": 1024,
    "inner4": 512,
    "outer4": 2048,
}
BLOCKS = (3, 4, 6, 3)


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution without bias that keeps the side at stride 1, and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """1 × 1 down, 3 × 3, 1 × 1 up, beside the identity or a projection of it."""

    def __init__(self, inputs: int, inner: int, outer: int, stride: int, project: bool) -> None:
        super().__init__()
        self.down = conv_norm(inputs, inner, 1)
        self.across = conv_norm(inner, inner, 3, stride)
        self.up = conv_norm(inner, outer, 1)
        self.project = conv_norm(inputs, outer, 1, stride) if project else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.across(self.relu(self.down(x))))
        return self.relu(self.up(y) + self.project(x))


class ResNet(nn.Module):
    """A bottleneck ResNet; the first block of every stage has a projection."""

    def __init__(
        self,
        widths: Mapping[str, int] = RESNET50,
        blocks: tuple[int, ...] = BLOCKS,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        incoming = widths["stem"]
        self.stem = nn.Sequential(
            *conv_norm(3, incoming, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        stages = []
        for stage, repeats in enumerate(blocks, 1):
            inner, outer = widths[f"inner{stage}"], widths[f"outer{stage}"]
            for block in range(repeats):
                stride = 2 if stage > 1 and block == 0 else 1
                stages.append(Bottleneck(incoming, inner, outer, stride, block == 0))
                incoming = outer
        self.blocks = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(incoming, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.blocks(self.stem(x))))
