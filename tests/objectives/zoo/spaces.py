"""Four spaces of widths: a perceptron, a residual CNN, a Transformer, and ResNet-50's nine widths.

Entry points: `SPACES`, `SearchSpaceCase`, `count_mismatches`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor, nn
from widthwise.objectives.cost.costs import FIELDS, count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.objectives.training.step import StepSpec, TensorSpec
from widthwise.search.space.space import Order, Space, Width

from .attention import VisionTransformer
from .catalogue import CLASS_TARGET, cross_entropy
from .resnet import RESNET50, ResNet, conv_norm
from .small import mlp

Widths = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class SearchSpaceCase:
    """A space and what is built from its candidates.

    Attributes:
        build: Takes widths.
        step: One training step.
        space: The candidates.
    """

    build: Callable[[Widths], nn.Module]
    step: StepSpec
    space: Space


class DepthwiseResidual(nn.Module):
    """A stem, then a depthwise-separable bottleneck beside the identity, twice."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        outer, inner = widths["outer"], widths["inner"]
        self.stem = conv_norm(3, outer, 3)
        self.branches = nn.ModuleList(self.branch(outer, inner) for _ in range(2))
        self.head = nn.Linear(outer, 5)

    @staticmethod
    def branch(outer: int, inner: int) -> nn.Module:
        depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        return nn.Sequential(
            *conv_norm(outer, inner, 1),
            nn.ReLU(),
            depthwise,
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            *conv_norm(inner, outer, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for branch in self.branches:
            x = x + branch(x)
        return self.head(x.mean((2, 3)))


def transformer(widths: Widths) -> nn.Module:
    return VisionTransformer(
        side=8,
        patch=4,
        heads=widths["heads"],
        head_size=widths["head_size"],
        hidden=widths["hidden"],
        layers=1,
        classes=5,
    )


def make_step(shape: tuple[int, ...], batch_size: int, optimizer: str) -> StepSpec:
    return StepSpec(
        inputs=(TensorSpec(shape=shape),),
        targets=CLASS_TARGET,
        batch_size=batch_size,
        optimizer=optimizer,
        loss=cross_entropy,
    )


SPACES: dict[str, SearchSpaceCase] = {
    "MLP": SearchSpaceCase(
        build=lambda widths: mlp((64, *widths.values(), 10)),
        step=make_step((64,), 64, "adamw"),
        space=Space(
            [Width.range(name, 16, 512, step=16) for name in ("first", "second", "third")],
            [Order(("first", "second", "third"), "non-increasing")],
        ),
    ),
    "residual CNN": SearchSpaceCase(
        build=DepthwiseResidual,
        step=make_step((3, 8, 8), 16, "sgd"),
        space=Space([Width.range("outer", 8, 128, step=8), Width.range("inner", 8, 256, step=8)]),
    ),
    "Transformer": SearchSpaceCase(
        build=transformer,
        step=make_step((3, 8, 8), 16, "adamw"),
        space=Space(
            [
                Width.range("heads", 2, 8),
                Width.range("head_size", 8, 64, step=8),
                Width.range("hidden", 32, 512, step=32),
            ]
        ),
    ),
    "ResNet-50": SearchSpaceCase(
        build=ResNet,
        step=make_step((3, 32, 32), 4, "sgd"),
        space=Space([Width.range(n, w // 4, w, step=max(8, w // 32)) for n, w in RESNET50.items()]),
    ),
}


def count_mismatches(case: SearchSpaceCase, model: CostModel, count: int, seed: int = 1) -> int:
    """Return of how many random candidates some cost differs from the one traced by itself."""
    candidates = case.space.sample(count, np.random.default_rng(seed))
    predicted = model.evaluate(candidates)
    mismatched = 0
    for index, row in enumerate(candidates):
        widths = case.space.as_mapping(row)
        traced = count_costs(partial(case.build, widths), case.step).as_dict()
        mismatched += any(int(predicted[name][index]) != traced[name] for name in FIELDS)
    return mismatched
