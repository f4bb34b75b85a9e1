"""Compiling a module: which dense networks the compiled code can train, and their table.

Entry point: `compile_module`, which returns a `DenseProgram`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...model.keyed_dropout import KeyedDropout, drop_threshold
from ..base import EngineUnsupported
from .program import Column, OpKind, SmoothActivation

Array = npt.NDArray[Any]
ArrayName = Literal["parameters", "statistics", "counter"]


@dataclass(frozen=True, kw_only=True)
class ParameterSlot:
    """Where an entry of the `state_dict` lies in the network's arrays.

    Attributes:
        name: Its key in the `state_dict`.
        array: The array that it lies in; a counter of batches lies in none.
        offset: Index of its first number in the array.
        shape: Its shape in the module.
    """

    name: str
    array: ArrayName
    offset: int
    shape: tuple[int, ...]

    @property
    def span(self) -> slice:
        """The slice of the array that it lies in."""
        return slice(self.offset, self.offset + prod(self.shape))


_SMOOTH_ACTIVATIONS: dict[type[nn.Module], SmoothActivation] = {
    nn.Sigmoid: SmoothActivation.SIGMOID,
    nn.SiLU: SmoothActivation.SILU,
    nn.Tanh: SmoothActivation.TANH,
    nn.ELU: SmoothActivation.ELU,
    nn.GELU: SmoothActivation.GELU,
}


@dataclass(frozen=True, kw_only=True)
class DenseProgram:
    """A network in the form that the compiled code interprets.

    Attributes:
        table: operations x columns; see `program.Column`.
        coefficients: operations x 2: eps, slope or scale; momentum. In the network's type.
        slots: Where the entries of the `state_dict` lie, in its order.
        parameter_count: Numbers in the parameters.
        statistic_count: Numbers in the statistics of batch normalisation.
        buffer_width: Numbers of the workspace that a row of a batch needs.
        max_width: Most numbers of a row in one buffer.
        dropout_count: Layers of dropout.
        output_width: Numbers in an output row.
        has_batch_norm: Whether it has batch normalisation, which cannot train on one row.
    """

    table: Array
    coefficients: Array
    slots: tuple[ParameterSlot, ...]
    parameter_count: int
    statistic_count: int
    buffer_width: int
    max_width: int
    dropout_count: int
    output_width: int
    has_batch_norm: bool


def compile_module(
    model: nn.Module, input_shape: tuple[int, ...], dtype: torch.dtype
) -> DenseProgram:
    """Return a module's program.

    Args:
        model: As it was built, with keyed dropout.
        input_shape: Shape of one row of the inputs.
        dtype: Type of the inputs.

    Raises:
        EngineUnsupported: The compiled code does not know a layer, or an option of one.
    """
    builder = _TableBuilder(input_shape)
    for name, module in _flattened_layers("", model):
        if list(module.buffers(recurse=False)) or list(module.parameters(recurse=False)):
            _require_trainable(name, module, dtype)
        builder.add(name, module)
    return builder.build(model, dtype)


def _flattened_layers(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a sequence in order, those of nested sequences included."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, hook_attribute) for hook_attribute in hooks):
        raise EngineUnsupported(f"{_describe(name, module)} has hooks")
    if type(module) is not nn.Sequential:
        yield name, module
        return
    for child_name, layer in module._modules.items():  # named_children omits repetitions
        assert layer is not None
        yield from _flattened_layers(f"{name}.{child_name}" if name else child_name, layer)


def _require_trainable(name: str, module: nn.Module, dtype: torch.dtype) -> None:
    for parameter in module.parameters(recurse=False):
        if parameter._backward_hooks:
            raise EngineUnsupported(f"{_describe(name, module)} has hooks")
        if not parameter.requires_grad:
            raise EngineUnsupported(f"{_describe(name, module)} has a frozen parameter")
        if parameter.dtype != dtype or parameter.device.type != "cpu":
            raise EngineUnsupported(
                f"{_describe(name, module)} computes in {parameter.dtype} on "
                f"{parameter.device.type}, the inputs are {dtype} on the CPU"
            )


def _describe(name: str, module: nn.Module) -> str:
    return f"layer '{name}' ({type(module).__name__})"


@final
class _TableBuilder:
    """Builds the table, layer by layer."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self._is_flat = len(input_shape) == 1
        self._operations: list[dict[Column, int]] = []
        self._coefficients: list[tuple[float, float]] = []
        self._slots: dict[int, tuple[ArrayName, int]] = {}
        self._array_sizes: dict[ArrayName, int] = {"parameters": 0, "statistics": 0}
        self._width = self._buffer_width = self._max_width = prod(input_shape)
        self._buffer = 0

    def add(self, name: str, module: nn.Module) -> None:
        """Add a layer.

        Raises:
            EngineUnsupported: It is not a known layer, or does not fit the layer before.
        """
        description = _describe(name, module)
        if type(module) is nn.Flatten:
            if module.start_dim != 1 or module.end_dim != -1:
                raise EngineUnsupported(f"{description} does not flatten whole rows")
            self._is_flat = True
        elif not self._is_flat:
            raise EngineUnsupported(f"{description} gets rows that are not flat")
        elif type(module) is nn.Linear:
            self._linear(description, module)
        elif type(module) is nn.BatchNorm1d or type(module) is nn.LayerNorm:
            self._norm(description, module)
        elif type(module) is KeyedDropout:
            self._dropout(description, module)
        else:
            self._activation(description, module)

    def build(self, model: nn.Module, dtype: torch.dtype) -> DenseProgram:
        """Return the program of the layers added."""
        op_kinds = self._op_kinds()
        if OpKind.LINEAR not in op_kinds:
            raise EngineUnsupported("the model has no linear layer")
        state = model.state_dict(keep_vars=True)
        if any(id(value) not in self._slots for value in state.values()):
            raise EngineUnsupported("the model has parameters outside its layers")
        slots = tuple(
            ParameterSlot(name=name, array=array, offset=offset, shape=tuple(value.shape))
            for name, value in state.items()
            for array, offset in [self._slots[id(value)]]
        )
        table = [[row.get(column, -1) for column in Column] for row in self._operations]
        return DenseProgram(
            table=np.array(table, dtype=np.int64),
            coefficients=np.array(
                self._coefficients, dtype=torch.empty(0, dtype=dtype).numpy().dtype
            ),
            slots=slots,
            parameter_count=self._array_sizes["parameters"],
            statistic_count=self._array_sizes["statistics"],
            buffer_width=self._buffer_width,
            max_width=self._max_width,
            dropout_count=op_kinds.count(OpKind.DROPOUT),
            output_width=self._width,
            has_batch_norm=OpKind.BATCH_NORM in op_kinds,
        )

    def _linear(self, description: str, module: nn.Linear) -> None:
        if module.in_features != self._width:
            raise EngineUnsupported(
                f"{description} takes {module.in_features} numbers and gets {self._width}"
            )
        weight = self._allocate_slot(description, "parameters", module.weight)
        bias = (
            -1
            if module.bias is None
            else self._allocate_slot(description, "parameters", module.bias)
        )
        self._add_operation(
            OpKind.LINEAR, module.out_features, {Column.WEIGHT: weight, Column.BIAS: bias}
        )

    def _norm(self, description: str, module: nn.BatchNorm1d | nn.LayerNorm) -> None:
        if module.weight is None or module.bias is None:
            raise EngineUnsupported(f"{description} has no gain or no shift")
        if module.weight.shape != (self._width,):
            raise EngineUnsupported(
                f"{description} takes {tuple(module.weight.shape)}, gets {self._width}"
            )
        columns = {
            Column.WEIGHT: self._allocate_slot(description, "parameters", module.weight),
            Column.BIAS: self._allocate_slot(description, "parameters", module.bias),
            Column.SAVED: self._allocate_buffer(self._width),
        }
        if isinstance(module, nn.LayerNorm):
            self._allocate_buffer(1)  # directly after it: 1 / deviation of every row
            self._add_operation(OpKind.LAYER_NORM, self._width, columns, (module.eps, 0.0))
            return
        if module.momentum is None or module.running_mean is None or module.running_var is None:
            raise EngineUnsupported(f"{description} keeps no moving averages")
        columns[Column.STATISTICS] = self._allocate_slot(
            description, "statistics", module.running_mean
        )
        self._allocate_slot(description, "statistics", module.running_var)
        self._array_sizes["statistics"] += self._width  # after them: 1 / deviation of every column
        assert module.num_batches_tracked is not None
        self._slots[id(module.num_batches_tracked)] = ("counter", 0)
        self._add_operation(OpKind.BATCH_NORM, self._width, columns, (module.eps, module.momentum))

    def _activation(self, description: str, module: nn.Module) -> None:
        if type(module) is nn.ReLU or type(module) is nn.LeakyReLU:
            slope = float(getattr(module, "negative_slope", 0.0))
            if slope < 0:
                raise EngineUnsupported(f"{description} has a slope below zero")
            self._add_operation(OpKind.LEAKY_RELU, self._width, {}, (slope, 0.0))
            return
        activation = _SMOOTH_ACTIVATIONS.get(type(module))
        if activation is None or getattr(module, "approximate", "none") != "none":
            raise EngineUnsupported(f"{description} is none of those that it knows")
        columns = {Column.OPTION: int(activation), Column.SAVED: self._allocate_buffer(self._width)}
        self._add_operation(
            OpKind.SMOOTH_ACTIVATION,
            self._width,
            columns,
            (float(getattr(module, "alpha", 1.0)), 0.0),
        )

    def _dropout(self, description: str, module: KeyedDropout) -> None:
        if module.shared_axes or module.p >= 1:
            raise EngineUnsupported(f"{description} drops whole rows, or all")
        columns = {
            Column.OPTION: drop_threshold(module.p),
            Column.SAVED: self._allocate_buffer(self._width),
        }
        self._add_operation(OpKind.DROPOUT, self._width, columns, (1 / (1 - module.p), 0.0))

    def _add_operation(
        self,
        kind: OpKind,
        width: int,
        columns: Mapping[Column, int],
        coefficients: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Add an operation; it works in place where its input is not read again."""
        needs_buffer = kind == OpKind.LINEAR or self._op_kinds()[-1:] == [OpKind.LEAKY_RELU]
        target = self._allocate_buffer(width) if needs_buffer else self._buffer
        row = {Column.KIND: kind, Column.INPUTS: self._width, Column.OUTPUTS: width}
        self._operations.append(
            {**row, Column.SOURCE: self._buffer, Column.TARGET: target, **columns}
        )
        self._coefficients.append(coefficients)
        self._buffer, self._width = target, width
        self._max_width = max(self._max_width, width)

    def _op_kinds(self) -> list[int]:
        return [row[Column.KIND] for row in self._operations]

    def _allocate_buffer(self, width: int) -> int:
        self._buffer_width += width
        return self._buffer_width - width

    def _allocate_slot(self, description: str, array: ArrayName, value: Tensor) -> int:
        """Return the offset of a parameter or statistic, the next free one in its array."""
        if id(value) in self._slots:
            raise EngineUnsupported(f"{description} shares its parameters with another layer")
        offset = self._array_sizes[array]
        self._slots[id(value)] = (array, offset)
        self._array_sizes[array] += value.numel()
        return offset
