"""Gradients of the loss at the outputs of a layer, with its inputs, position by position.

Entry points: `reader_gradients`, `ReaderGradients`; `input_patches`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from .estimates import solve_ridge
from .junctions import Junction
from .layers import Layer, run_model
from .samples import Samples

LossOfOutput = Callable[[object, Tensor], Tensor]
"""`(output of the model, targets) -> scalar`, the mean over the rows."""

_MAX_POSITIONS = 4096
"""Positions that least squares are fitted on, at least four a column where there are so many."""
_POSITIONS_A_COLUMN = 4
_MOST_POSITIONS = 16_384


@dataclass(frozen=True, kw_only=True, eq=False)
class ReaderGradients:
    """What a junction's reader gets, and how the loss would have its outputs changed.

    Attributes:
        junction: The layers.
        positions: Which positions were drawn of all that a pass has: rows × positions in a row.
        gradient: Of each row's loss at the reader's outputs, [positions, outputs].
        present: The reader's input there, and a column of ones, [positions, features + 1].
        projected: The gradient less what other weights of the reader could do, likewise.
        writer_inputs: The writer's inputs, at positions of its own, [positions, features].
        writer_outputs: Its outputs there, [positions, width].
        reader_deviation: Root mean square of the reader's centred outputs.
        positions_a_row: Positions that each row has at the reader.
        has_norm: Whether the model has batch norm, which gives every channel a bias.
    """

    junction: Junction
    positions: Tensor
    gradient: Tensor
    present: Tensor
    projected: Tensor
    writer_inputs: Tensor
    writer_outputs: Tensor
    reader_deviation: float
    positions_a_row: int
    same_positions: bool
    has_norm: bool

    @property
    def bottleneck(self) -> float:
        """Share of the squared gradient that no other weights of the reader can follow, 0 to 1."""
        total = float(self.gradient.square().sum())
        return float(self.projected.square().sum()) / total if total else 0.0

    @property
    def gradmax(self) -> float | None:
        """Largest singular value of E[δ aᵀ]: loss a unit of both norms, for a linear activation.

        None where the positions of the two layers are not the same.
        """
        writer, reader = self.junction.writer, self.junction.reader
        both_linear = isinstance(writer.module, nn.Linear) and isinstance(reader.module, nn.Linear)
        if not both_linear or not self.same_positions:
            return None
        product = self.gradient.T @ self.writer_inputs / len(self.gradient)
        return float(torch.linalg.matrix_norm(product, 2)) * self.positions_a_row


def reader_gradients(
    model: nn.Module, junction: Junction, samples: Samples, loss: LossOfOutput, seed: int
) -> ReaderGradients:
    """Return the gradients of a junction's reader over the samples, in one pass."""
    caught: dict[str, Tensor] = {}

    def probe(value: Tensor, output: Tensor) -> Tensor:
        # The gradient is that of an addition to the output: in-place activations may follow.
        addition = torch.zeros_like(output, requires_grad=True)
        caught.update(reader_input=value.detach().clone(), probe=addition)
        caught["output"] = output.detach().clone()
        return output + addition

    def keep(value: Tensor, output: Tensor) -> Tensor:
        caught.update(writer_input=value.detach().clone(), writer_output=output.detach().clone())
        return output

    with torch.enable_grad():
        output = run_model(model, samples, change={junction.reader: probe, junction.writer: keep})
        (gradient,) = torch.autograd.grad(loss(output, samples.targets), caught["probe"])
    reader, writer = junction.reader, junction.writer
    gradients = reader.channels_last(gradient) * samples.rows
    outputs = reader.channels_last(caught["output"])
    positions = _draw_positions(len(gradients), _patch_size(reader), seed)
    ones = torch.ones(len(positions), 1, device=gradients.device)
    present = torch.cat([input_patches(reader, caught["reader_input"], positions), ones], dim=1)
    chosen = gradients[positions]
    same = len(gradients) == len(writer.channels_last(caught["writer_output"]))
    writer_positions = (
        positions
        if same
        else _draw_positions(
            len(writer.channels_last(caught["writer_output"])), _patch_size(writer), seed
        )
    )
    return ReaderGradients(
        junction=junction,
        positions=positions,
        gradient=chosen,
        present=present,
        projected=chosen - present @ solve_ridge(present, chosen),
        writer_inputs=input_patches(writer, caught["writer_input"], writer_positions),
        writer_outputs=writer.channels_last(caught["writer_output"])[writer_positions],
        reader_deviation=float((outputs - outputs.mean(dim=0)).square().mean().sqrt()),
        positions_a_row=len(gradients) // samples.rows,
        same_positions=same,
        has_norm=any(isinstance(module, _BatchNorm) for module in model.modules()),
    )


def input_patches(
    layer: Layer, value: Tensor, positions: Tensor, channels: Tensor | None = None
) -> Tensor:
    """Return what a layer's outputs at some positions are computed from, [positions, features].

    Args:
        layer: A Linear or a convolution.
        value: Its input.
        positions: Of its output, rows first.
        channels: Of the input, those to look at; None for all.
    """
    if channels is not None:
        value = value.index_select(layer.channel_axis(value), channels)
    module = layer.module
    if not isinstance(module, _ConvNd):
        return value.reshape(-1, value.shape[-1])[positions]
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    if isinstance(module, nn.Conv1d):  # one row of pixels
        value = value[:, :, None]
        kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
    value = nn.functional.pad(value, module._reversed_padding_repeated_twice)
    # Windows as a view: only the drawn positions are copied.
    height, width = kernel
    windows = value.unfold(2, dilation[0] * (height - 1) + 1, stride[0])
    windows = windows.unfold(3, dilation[1] * (width - 1) + 1, stride[1])
    windows = windows[..., :: dilation[0], :: dilation[1]]
    down, across = windows.shape[2:4]
    row, place = positions // (down * across), positions % (down * across)
    chosen = windows[row, :, place // across, place % across]
    return chosen.reshape(len(positions), -1)


def _patch_size(layer: Layer) -> int:
    module = layer.module
    if isinstance(module, _ConvNd):
        return int(torch.Size(module.kernel_size).numel()) * module.in_channels
    return layer.fan_in


def _draw_positions(count: int, columns: int, seed: int) -> Tensor:
    """Return positions in ascending order, drawn without repetition."""
    wanted = min(max(_MAX_POSITIONS, _POSITIONS_A_COLUMN * columns), _MOST_POSITIONS)
    if count <= wanted:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:wanted].sort().values
