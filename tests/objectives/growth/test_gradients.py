"""Gradients at the reader: GradMax's singular value, and patches of every kind of convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from widthwise.objectives.growth.gradients import ReaderGradients, input_patches, reader_gradients
from widthwise.objectives.growth.junctions import find_junction
from widthwise.objectives.growth.layers import Layer, find_layers
from widthwise.objectives.growth.samples import Samples

from .planted import FEATURES, OUTPUTS, perceptron, squared_error, teacher_rows


def gradients_of(model: nn.Module) -> ReaderGradients:
    training, _ = teacher_rows(0)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    layers = find_layers(model, training)
    junction = find_junction(model, layers, layers[0], training.select(slice(0, 4)))
    return reader_gradients(model, junction, training, squared_error, 0)


def test_gradmax_is_the_largest_gradient_of_a_new_neurons_incoming_weights() -> None:
    """By autograd: d L / d a of a linear neuron with outgoing weights w, |w| = 1, a = 0."""
    torch.manual_seed(0)
    model = perceptron([6], nn.Identity)
    training, _ = teacher_rows(0)
    found = gradients_of(model).gradmax
    assert found is not None

    def gradient_norm(outgoing: torch.Tensor) -> float:
        incoming = torch.zeros(8, requires_grad=True)
        output = training.call(model) + (training.inputs[0] @ incoming)[:, None] * outgoing
        (gradient,) = torch.autograd.grad(squared_error(output, training.targets), incoming)
        return float(gradient.norm())

    generator = torch.Generator().manual_seed(0)
    norms = [
        gradient_norm(nn.functional.normalize(torch.randn(3, generator=generator), dim=0))
        for _ in range(300)
    ]
    assert max(norms) <= found * 1.0001
    assert max(norms) > 0.95 * found


def test_the_projected_gradient_is_that_which_the_reader_cannot_follow() -> None:
    torch.manual_seed(0)
    gradients = gradients_of(perceptron([6]))
    overlap = gradients.present.T @ gradients.projected / len(gradients.projected)
    assert float(overlap.abs().max()) < 1e-2 * float(gradients.gradient.abs().mean())
    assert 0 < gradients.bottleneck < 1


CONVOLUTIONS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Conv2d(3, 5, 3, padding=1, stride=2), (9, 7)),
    (nn.Conv2d(3, 5, (3, 2), dilation=(1, 2)), (8, 8)),
    (nn.Conv2d(3, 5, 3, padding="same"), (8, 8)),
    (nn.Conv1d(3, 5, 3, padding=2, stride=3), (17,)),
]


@pytest.mark.parametrize(("module", "sides"), CONVOLUTIONS, ids=lambda value: str(value)[:40])
def test_patches_times_weights_are_the_outputs(module: Any, sides: tuple[int, ...]) -> None:
    layer = Layer(name="", number=1, module=module, calls=1)
    images = torch.randn(4, 3, *sides)
    expected = layer.channels_last(module(images))
    positions = torch.arange(len(expected))[::3]
    patches = input_patches(layer, images, positions)
    found = patches @ module.weight.flatten(1).T + module.bias
    torch.testing.assert_close(found, expected[positions], atol=1e-5, rtol=1e-4)


class Pooled(nn.Module):
    """A layer for every token, and one for their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Linear(FEATURES, 6), nn.Linear(6, OUTPUTS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.tokens(x)).mean(dim=1))


@pytest.mark.parametrize("rows", [200, 5000], ids=["few", "more than are drawn"])
def test_positions_of_other_tokens_have_no_gradmax(rows: int) -> None:
    torch.manual_seed(0)
    samples = Samples(inputs=[torch.randn(rows, 5, FEATURES)], targets=torch.randn(rows, OUTPUTS))
    model = Pooled()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    layers = find_layers(model, samples)
    junction = find_junction(model, layers, layers[0], samples.select(slice(0, 4)))
    assert reader_gradients(model, junction, samples, squared_error, 0).gradmax is None
