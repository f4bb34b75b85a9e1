"""One more neuron: its best weights, and what it adds to the layer that reads it.

A neuron in layer l with incoming weights a and outgoing weights w adds w φ(x) to the outputs z of
the layer that reads l, φ being its activation there. To first order it changes the loss by
E[δᵀ w φ], δ being the gradient of the loss at z. What the present neurons h of layer l could do as
well by other outgoing weights is no gain of width: it is projected out of δ and of φ,

    δ⊥ = δ − δ hᵀ(h hᵀ)⁻¹ h        φ⊥ = φ − B h,  B = φ hᵀ(h hᵀ)⁻¹

(TINY: Verbockhaven et al., Growing Tiny Networks (2024), arXiv 2405.19816, sections 3 and 4). The
incoming weights are those for which the part of δ⊥ that φ explains is largest; where activations
are linear that is the leading pair of singular vectors of E[δ aᵀ], which GradMax takes (Evci et
al., GradMax (2022), arXiv 2201.05125, section 3). Here the activation is the model's own, so that
they are found by gradient ascent; the outgoing weights are the least squares of −δ⊥ on φ⊥.

Norms between two layers are followed as they are: a new channel is standardised as the one in whose
place it runs, so that batch norm treats it alike.

Entry points: `fit_neuron`, `NewNeuron`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .estimates import solve_ridge
from .gradients import ReaderGradients, input_patches
from .junctions import Junction
from .layers import Layer, run_model
from .samples import Samples

_CANDIDATES = 16
"""Neurons that are tried for each layer, at least; each is improved from its own beginning."""
_STEPS = 25
"""Steps of gradient ascent (Adam) on the incoming weights."""
_RATE = 0.1
_MAX_WHITENED = 512
"""Inputs up to which their covariance is inverted; beyond, each is scaled by itself."""
_SHIFTS = (0.0, -1.0, 1.0)
"""Thresholds of new neurons in standard deviations, where they do not copy those of others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NewNeuron:
    """A neuron that a layer does not have yet.

    Its outgoing weights are of the size that what it adds to the reader's outputs, over the rows it
    was fitted on, has their own standard deviation.

    Attributes:
        junction: The layer, and the one that reads it.
        channel: Whose place the neuron runs in, for its norm.
        incoming: Its row of the layer's weight, [1, ...].
        bias: Of the neuron.
        outgoing: Its columns of the reader's weight, [outputs, q, ...].
        adjustment: What is added to the reader's weight at the same time: −w B.
        adjustment_bias: What is added to the reader's bias.
    """

    junction: Junction
    channel: int
    incoming: Tensor
    bias: Tensor
    outgoing: Tensor
    adjustment: Tensor
    adjustment_bias: Tensor

    def activation(self, model: nn.Module, samples: Samples) -> Tensor:
        """Return its activation as the reader gets it, in the shape of its input, q features."""
        junction = self.junction
        caught: list[Tensor] = []

        def replace(value: Tensor, output: Tensor) -> Tensor:
            changed = output.clone()
            written = linear_map(junction.writer, value, self.incoming, self.bias)
            axis = junction.writer.channel_axis(output)
            changed.select(axis, self.channel).copy_(written.select(axis, 0))
            return changed

        run_model(
            model,
            samples,
            change={junction.writer: replace},
            look={junction.reader: lambda value: caught.append(value.detach().clone())},
            until=junction.reader,
        )
        features = junction.features[self.channel].to(caught[0].device)
        return caught[0].index_select(junction.reader.channel_axis(caught[0]), features)

    def run(self, model: nn.Module, samples: Samples, size: Tensor | float) -> Any:
        """Return the model's output with the neuron in it.

        Args:
            model: In evaluation mode.
            samples: What to call it with.
            size: Factor on the outgoing weights and the adjustment.
        """
        with torch.no_grad():
            activation = self.activation(model, samples)
        reader = self.junction.reader

        def add(value: Tensor, output: Tensor) -> Tensor:
            new = linear_map(reader, activation, self.outgoing, None)
            adjusted = linear_map(reader, value, self.adjustment, self.adjustment_bias)
            return output + size * (new + adjusted)

        return run_model(model, samples, change={reader: add})


def linear_map(layer: Layer, value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return what a layer makes of an input with another weight: same stride, padding and so on."""
    module = layer.module
    if isinstance(module, _ConvNd):
        convolve: Callable[..., Tensor] = (
            nn.functional.conv1d if isinstance(module, nn.Conv1d) else nn.functional.conv2d
        )
        return convolve(value, weight, bias, module.stride, module.padding, module.dilation)
    return nn.functional.linear(value, weight, bias)


def fit_neuron(
    model: nn.Module, gradients: ReaderGradients, samples: Samples, seed: int
) -> NewNeuron | None:
    """Return the best neuron that was found for a junction; None where none changes anything.

    Args:
        model: In evaluation mode, its parameters without gradients.
        gradients: Of the loss at the reader's outputs, on these samples.
        samples: Training rows.
        seed: Of the first weights.
    """
    junction, search = gradients.junction, _Search(model, gradients, samples)
    generator = torch.Generator().manual_seed(seed)
    best: tuple[float, _Candidates, int] | None = None
    width = junction.writer.width
    for first in range(0, _CANDIDATES, width):
        candidates = search.draw(min(width, 2 * _CANDIDATES), first, generator)
        scores = search.improve(candidates)
        index = int(scores.argmax())
        if best is None or float(scores[index]) > best[0]:
            best = (float(scores[index]), candidates, index)
    if best is None or best[0] <= 0:
        return None
    return search.finish(best[1], best[2])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Candidates:
    """Neurons that are improved together, each in the place of a channel.

    Attributes:
        directions: Incoming weights in whitened inputs, [m, inputs].
        scales: Standard deviation that each is brought to, [m].
        shifts: Mean that each is brought to, [m].
    """

    directions: Tensor
    scales: Tensor
    shifts: Tensor


class _Search:
    """Gradient ascent on incoming weights.

    Args:
        model: In evaluation mode.
        gradients: Of the loss at the reader's outputs.
        samples: Training rows.
    """

    def __init__(self, model: nn.Module, gradients: ReaderGradients, samples: Samples) -> None:
        self._model, self._gradients, self._samples = model, gradients, samples
        junction = self._junction = gradients.junction
        inputs, outputs = gradients.writer_inputs, gradients.writer_outputs
        self._means, self._deviations = outputs.mean(dim=0), outputs.std(dim=0)
        self._whitening = _whitening(inputs)
        self._input_mean = inputs.mean(dim=0)
        self._shape = (-1, *_weight_shape(junction.writer)[1:])

    def draw(self, count: int, first: int, generator: torch.Generator) -> _Candidates:
        """Return candidates with random directions; half of them with thresholds of others."""
        size = self._whitening.shape[0]
        directions = torch.randn(count, size, generator=generator).to(self._whitening)
        typical = self._deviations.mean().clamp_min(1e-3)
        scales = torch.where(self._deviations > 0.01 * typical, self._deviations, typical)[:count]
        shifts = self._means[:count].clone()
        for index in range(count):
            turn = first // max(count, 1) + index
            if turn % 2:
                shifts[index] = scales[index] * _SHIFTS[turn // 2 % len(_SHIFTS)]
        return _Candidates(directions=directions / size**0.5, scales=scales.clone(), shifts=shifts)

    def weights(self, candidates: _Candidates) -> tuple[Tensor, Tensor]:
        """Return incoming weights [m, ...] and biases [m] with the wanted mean and deviation."""
        flat = candidates.directions @ self._whitening
        written = self._gradients.writer_inputs @ flat.T
        flat = flat * (candidates.scales / written.std(dim=0).clamp_min(1e-12))[:, None]
        bias = candidates.shifts - flat @ self._input_mean
        if isinstance(self._junction.writer.module, nn.Linear | _ConvNd) and (
            self._junction.writer.module.bias is None and not self._gradients.has_norm
        ):
            bias = torch.zeros_like(bias)
        return flat.reshape(self._shape), bias

    def improve(self, candidates: _Candidates) -> Tensor:
        """Improve directions in place; return each one's score, [m]."""
        directions = candidates.directions.requires_grad_()
        optimizer = torch.optim.Adam([directions], lr=_RATE)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            scores = self._scores(candidates)
            if not scores.requires_grad:  # nothing of them reaches the reader
                break
            (-(scores + 1e-12).log().sum()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            scores = self._scores(candidates)
        directions.requires_grad_(False)
        return scores

    def _scores(self, candidates: _Candidates) -> Tensor:
        """Return which part of the projected gradient each explains, in squares, [m].

        The features of one channel are taken for uncorrelated, which only the ascent does.
        """
        features = self._features(candidates)
        centred = features - features.mean(dim=0)
        power = centred.square().mean(dim=0)
        products = torch.einsum("ro,rmq->omq", self._gradients.projected, centred)
        explained = (products / len(features)).square().sum(dim=0)
        return (explained / power.clamp_min(1e-12 + 1e-6 * float(power.detach().max()))).sum(dim=1)

    def _features(self, candidates: _Candidates) -> Tensor:
        """Return the candidates' features of the reader's input, [positions, m, q·kernel]."""
        junction, (weights, biases) = self._junction, self.weights(candidates)
        count, caught = len(biases), list[Tensor]()

        def replace(value: Tensor, output: Tensor) -> Tensor:
            written = linear_map(junction.writer, value, weights, biases)
            axis = junction.writer.channel_axis(output)
            rest = output.narrow(axis, count, output.shape[axis] - count)
            return torch.cat([written, rest], dim=axis)

        run_model(
            self._model,
            self._samples,
            change={junction.writer: replace},
            look={junction.reader: lambda value: caught.append(value.clone())},
            until=junction.reader,
        )
        features = junction.features[:count].flatten()
        patches = input_patches(
            junction.reader, caught[0], self._gradients.positions, features.to(caught[0].device)
        )
        return patches.reshape(len(patches), count, -1)

    def finish(self, candidates: _Candidates, index: int) -> NewNeuron:
        """Return a candidate as a neuron, its outgoing weights fitted."""
        junction, gradients = self._junction, self._gradients
        with torch.no_grad():
            weights, biases = self.weights(candidates)
            features = self._features(candidates)[:, index]
            present = gradients.present
            mixture = solve_ridge(present, features)
            outgoing = solve_ridge(features - present @ mixture, -gradients.projected)
            added = (features - present @ mixture) @ outgoing
            size = float(added.square().mean().sqrt())
            outgoing = outgoing * (gradients.reader_deviation / max(size, 1e-30))
            adjustment = -(mixture @ outgoing).T
        shape = _weight_shape(junction.reader)
        return NewNeuron(
            junction=junction,
            channel=index,
            incoming=weights[index : index + 1],
            bias=biases[index : index + 1],
            outgoing=outgoing.T.reshape(shape[0], -1, *shape[2:]),
            adjustment=adjustment[:, :-1].reshape(shape),
            adjustment_bias=adjustment[:, -1],
        )


def _whitening(inputs: Tensor) -> Tensor:
    """Return S^(−1/2) of the inputs, [inputs, inputs]; of many inputs its diagonal alone."""
    centred = inputs - inputs.mean(dim=0)
    if centred.shape[1] > _MAX_WHITENED:
        deviations = centred.std(dim=0)
        floor = 0.01 * float(deviations.max()) + 1e-12
        return torch.diag(1 / deviations.clamp_min(floor))
    covariance = centred.T @ centred / len(centred)
    values, vectors = torch.linalg.eigh(covariance.double())
    values = values.clamp_min(1e-4 * float(values.max()) + 1e-12)
    whitening: Tensor = (vectors / values.sqrt()) @ vectors.T
    return whitening.to(inputs.dtype)


def _weight_shape(layer: Layer) -> tuple[int, ...]:
    weight: Any = layer.module.weight
    return tuple(weight.shape)
