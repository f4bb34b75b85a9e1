"""A new neuron against one that is really built in: equal outputs, and finite differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.growth.gradients import reader_gradients
from widthwise.objectives.growth.growth import first_order
from widthwise.objectives.growth.junctions import find_junction
from widthwise.objectives.growth.layers import find_layers
from widthwise.objectives.growth.neuron import NewNeuron, fit_neuron
from widthwise.objectives.growth.samples import Samples

from .planted import perceptron, squared_error, teacher_rows, trained


def image_rows() -> Samples:
    torch.manual_seed(3)
    images = torch.randn(64, 2, 8, 8)
    return Samples(inputs=[images], targets=images.square().mean((1, 2, 3))[:, None])


class Convolutions(nn.Module):
    """A convolution read by one of stride 2, read by a Linear after flattening."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 3, 3, stride=2, padding=1)
        self.head = nn.Linear(3 * 2 * 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(self.first(x).relu())
        hidden = nn.functional.max_pool2d(torch.tanh(hidden), 2)
        output: Tensor = self.head(hidden.flatten(1))
        return output


def new_neuron(model: nn.Module, name: str, samples: Samples) -> NewNeuron:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    layers = find_layers(model, samples.select(slice(0, 4)))
    writer = next(layer for layer in layers if layer.name == name)
    junction = find_junction(model, layers, writer, samples.select(slice(0, 4)))
    gradients = reader_gradients(model, junction, samples, squared_error, 0)
    neuron = fit_neuron(model, gradients, samples, 0)
    assert neuron is not None
    return neuron


def built_in(model: nn.Module, neuron: NewNeuron, size: float) -> nn.Module:
    """A copy of the model with the neuron as one more row and column of its weights."""
    model = copy.deepcopy(model)
    modules = dict(model.named_modules())
    writer: Any = modules[neuron.junction.writer.name]
    reader: Any = modules[neuron.junction.reader.name]
    reader.weight.data += size * neuron.adjustment
    reader.bias.data += size * neuron.adjustment_bias
    writer.weight = nn.Parameter(torch.cat([writer.weight.data, neuron.incoming]))
    writer.bias = nn.Parameter(torch.cat([writer.bias.data, neuron.bias]))
    # Channels that are flattened stand side by side: the new one's features come last.
    reader.weight = nn.Parameter(torch.cat([reader.weight.data, size * neuron.outgoing], dim=1))
    return model


def dense_case() -> tuple[nn.Module, Samples]:
    return trained(perceptron([5, 7]), teacher_rows(0, 400)[0], 100), teacher_rows(0)[0]


def convolutional_case() -> tuple[nn.Module, Samples]:
    return Convolutions().eval(), image_rows()


CASES = pytest.mark.parametrize(
    ("name", "make"),
    [
        ("0", dense_case),
        ("2", dense_case),
        ("first", convolutional_case),
        ("second", convolutional_case),
    ],
    ids=["dense 1", "dense 2", "convolution", "flattened"],
)


@CASES
def test_the_neuron_that_runs_is_the_neuron_that_is_built_in(
    name: str, make: Callable[[], tuple[nn.Module, Samples]]
) -> None:
    model, samples = make()
    neuron = new_neuron(model, name, samples)
    with torch.no_grad():
        for size in (0.01, 0.7):
            running = neuron.run(model, samples, size)
            built = samples.call(built_in(model, neuron, size))
            torch.testing.assert_close(running, built, rtol=1e-4, atol=1e-5)


@CASES
def test_the_first_order_gain_is_the_finite_difference(
    name: str, make: Callable[[], tuple[nn.Module, Samples]]
) -> None:
    model, samples = make()
    neuron = new_neuron(model, name, samples)
    gain = first_order(model, neuron, samples, squared_error)
    step, losses = 1e-3, []
    double = Samples(
        inputs=[tensor.double() for tensor in samples.inputs], targets=samples.targets.double()
    )
    for size in (step, -step):
        exact = built_in(model, neuron, size).double()
        with torch.no_grad():
            losses.append(float(squared_error(double.call(exact), double.targets)))
    assert gain == pytest.approx((losses[1] - losses[0]) / (2 * step), rel=2e-2)
    assert gain > 0


def test_it_beats_neurons_drawn_at_random() -> None:
    """Each with its own best outgoing weights, by least squares of another program."""
    training, _ = teacher_rows(2)
    model = trained(perceptron([4, 32]), training)
    neuron = new_neuron(model, "0", training)
    fitted = first_order(model, neuron, training, squared_error)
    inputs = training.inputs[0]
    gradients = reader_gradients(model, neuron.junction, training, squared_error, 0)
    generator = torch.Generator().manual_seed(0)
    present = gradients.present.double()
    best = 0.0
    for _ in range(50):
        direction = torch.randn(inputs.shape[1], generator=generator)
        activation = (inputs @ direction + torch.randn(1, generator=generator)).relu().double()
        own = activation - present @ torch.linalg.lstsq(present, activation[:, None])[0][:, 0]
        outgoing = -(own @ gradients.projected.double()) / own.square().sum()
        added = own[:, None] * outgoing
        added *= gradients.reader_deviation / added.square().mean().sqrt()
        best = max(best, -float((gradients.gradient.double() * added).sum(1).mean()))
    assert fitted > best > 0


def test_what_the_present_neurons_can_do_is_no_gain() -> None:
    """Its activation, less what they explain, is what it adds: orthogonal to all of them."""
    training, _ = teacher_rows(0)
    model = trained(perceptron([5, 7]), training, 50)
    neuron = new_neuron(model, "0", training)
    gradients = reader_gradients(model, neuron.junction, training, squared_error, 0)
    activation = neuron.activation(model, training)
    added = activation @ neuron.outgoing.T + gradients.present[:, :-1] @ neuron.adjustment.T
    added += neuron.adjustment_bias
    overlap = (gradients.present.T @ added).abs().max() / len(added)
    assert float(overlap) < 1e-2 * gradients.reader_deviation
    size = float(added.square().mean().sqrt())
    assert size == pytest.approx(gradients.reader_deviation, rel=1e-3)


def test_batch_norm_and_no_bias() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Linear(6, 3)
    )
    training, _ = teacher_rows(0)
    trained(model, training, 50)
    before = training.call(model).detach()
    neuron = new_neuron(model, "0", training)
    assert first_order(model, neuron, training, squared_error) > 0
    torch.testing.assert_close(neuron.run(model, training, 0.0), before)
