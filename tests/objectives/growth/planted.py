"""Networks with a planted bottleneck: students of a wide teacher, one layer of them too narrow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from widthwise.objectives.growth.samples import Samples

FEATURES, OUTPUTS = 8, 3


def squared_error(output: object, targets: Tensor) -> Tensor:
    assert isinstance(output, Tensor)
    return (output - targets).square().mean()


def perceptron(widths: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise([FEATURES, *widths, OUTPUTS]):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def teacher_rows(seed: int, rows: int = 1600) -> tuple[Samples, Samples]:
    """Rows of a teacher of 24 and 24 neurons, with noise: training and held-out ones."""
    torch.manual_seed(seed)
    teacher = perceptron([24, 24], nn.Tanh)
    for parameter in teacher.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1.5 / parameter.shape[1] ** 0.5)
    inputs = torch.randn(rows, FEATURES)
    with torch.no_grad():
        outputs = teacher(inputs)
    targets = (outputs - outputs.mean(0)) / outputs.std(0) + 0.05 * torch.randn(rows, OUTPUTS)
    samples = Samples(inputs=[inputs], targets=targets)
    return samples.select(slice(0, rows // 2)), samples.select(slice(rows // 2, None))


def trained(model: nn.Module, samples: Samples, steps: int = 400) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = samples.select(torch.randint(0, samples.rows, (128,)))
        optimizer.zero_grad()
        squared_error(batch.call(model), batch.targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.zero_grad()
    return model.eval()
