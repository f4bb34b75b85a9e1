"""The zoo at other sizes: each width, halved, doubled and at an odd multiple, trains one step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.discovery.groups import WidthGroup
from widthwise.objectives.discovery.resizing.resizable import Resizable, find_resizable

from .zoo.architecture import Architecture, Width, batch, parameter_shapes
from .zoo.catalogue import ZOO

WITH_WIDTHS = [name for name, architecture in ZOO.items() if architecture.widths]


@dataclass(frozen=True)
class Resized:
    """One architecture, what can be resized of it, and the group of each width by its name."""

    architecture: Architecture
    resizable: Resizable
    groups: Mapping[str, WidthGroup]

    def build(self, sizes: Mapping[str, int]) -> tuple[nn.Module, nn.Module]:
        """What is built of these sizes, and what the architecture's own builder makes of them."""
        named = {self.groups[name].name: size for name, size in sizes.items()}
        torch.manual_seed(0)
        resized = self.resizable.build(named)
        torch.manual_seed(0)
        return resized, self.architecture.build(**sizes)


@pytest.fixture(scope="module", params=WITH_WIDTHS)
def resized(request: pytest.FixtureRequest) -> Resized:
    architecture = ZOO[request.param]
    resizable = find_resizable(architecture.make, architecture.inputs)
    model = architecture.make()
    by_members = {
        frozenset(
            (id(model.get_parameter(member.qualified_parameter)), member.dim)
            for member in group.members
        ): group
        for group in resizable.discovery.groups
    }
    groups = {
        width.name: by_members[frozenset(width.members_in(model))] for width in architecture.widths
    }
    return Resized(architecture, resizable, groups)


def next_prime(number: int) -> int:
    """The least prime that is larger."""
    number += 1
    while any(number % divisor == 0 for divisor in range(2, number)):
        number += 1
    return number


def trials(width: Width) -> list[int]:
    """Half, double, and a prime number of the least steps."""
    steps = width.size // width.multiple_of
    return [width.multiple_of * n for n in (max(1, steps // 2), 2 * steps, next_prime(steps))]


def tensors(output: Any) -> Iterator[Tensor]:
    """Every tensor of real numbers in what a model returned."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from tensors(value)


def train_one_step(model: nn.Module, architecture: Architecture) -> None:
    """Take a step of gradient descent, and require that it moves every parameter it should."""
    args, kwargs = batch(architecture.inputs)
    loss = torch.stack([t.square().mean() for t in tensors(model(*args, **kwargs))]).sum()
    loss.backward()
    assert loss.isfinite()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.isfinite().all(), name
        if parameter.grad.abs().max() > 1e-5:
            assert not torch.equal(parameter, before[name]), name


def test_the_widths_are_those_a_person_would_name(resized: Resized) -> None:
    groups = resized.resizable.discovery.groups
    assert len(groups) == len(resized.architecture.widths)
    for width in resized.architecture.widths:
        group = resized.groups[width.name]
        assert (group.size, group.multiple_of) == (width.size, width.multiple_of)
        assert group.name in {width.name, *width.called}


def test_each_width_takes_other_sizes_and_trains(resized: Resized) -> None:
    for width in resized.architecture.widths:
        for size in trials(width):
            model, expected = resized.build({width.name: size})
            assert parameter_shapes(model) == parameter_shapes(expected), (width.name, size)
            train_one_step(model, resized.architecture)


def test_all_widths_at_once(resized: Resized) -> None:
    sizes = {width.name: trials(width)[2] for width in resized.architecture.widths}
    model, expected = resized.build(sizes)
    assert parameter_shapes(model) == parameter_shapes(expected)
    train_one_step(model, resized.architecture)


def test_new_weights_are_drawn_as_the_layers_draw_them(resized: Resized) -> None:
    """Means and spreads are those of the same layers, built at that size by their own builder."""
    sizes = {width.name: 8 * width.size for width in resized.architecture.widths}
    model, expected = resized.build(sizes)
    for name, parameter in model.named_parameters():
        drawn, usual = parameter.detach(), expected.get_parameter(name).detach()
        if drawn.numel() < 64:
            continue
        spread = float(usual.std())
        assert float(drawn.std()) == pytest.approx(spread, rel=0.35, abs=1e-6), name
        assert float(drawn.mean()) == pytest.approx(float(usual.mean()), abs=spread + 1e-6), name
