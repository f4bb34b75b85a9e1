"""Recognising dense networks: which modules the compiled code can train, and their table.

Entry point: `recognise`, which returns a `Layout`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...model.keyed_dropout import KeyedDropout, threshold
from ..base import Unsuitable
from .program import Column, Kind, Smooth

Numbers = npt.NDArray[Any]
Where = Literal["parameters", "statistics", "counter"]


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where an entry of the `state_dict` lies.

    Attributes:
        name: In the `state_dict`.
        where: The array; a counter of batches lies in none.
        place: Its first number there.
        shape: Its own.
    """

    name: str
    where: Where
    place: int
    shape: tuple[int, ...]

    @property
    def slice(self) -> slice:
        """Return its part of the array."""
        return slice(self.place, self.place + prod(self.shape))


_SMOOTH: dict[type[nn.Module], Smooth] = {
    nn.Sigmoid: Smooth.SIGMOID,
    nn.SiLU: Smooth.SILU,
    nn.Tanh: Smooth.TANH,
    nn.ELU: Smooth.ELU,
    nn.GELU: Smooth.GELU,
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A network as the compiled code wants it.

    Attributes:
        table: operations x columns; see `dense_table.Column`.
        numbers: operations x 2: eps, slope or scale; momentum. In the network's type.
        shelves: Where everything in the `state_dict` lies, in its order.
        parameters: Numbers in the parameters.
        statistics: Numbers in the statistics of batch normalisation.
        room: Numbers a row of a batch needs in the workspace.
        widest: Most numbers a row in one buffer.
        dropouts: Layers of dropout.
        outputs: Numbers in an output row.
        batch_norms: Whether there are any: they cannot train on one row.
    """

    table: Numbers
    numbers: Numbers
    shelves: tuple[Shelf, ...]
    parameters: int
    statistics: int
    room: int
    widest: int
    dropouts: int
    outputs: int
    batch_norms: bool


def recognise(model: nn.Module, sample: tuple[int, ...], dtype: torch.dtype) -> Layout:
    """Return the layout of a network.

    Args:
        model: As built, its dropout keyed.
        sample: Shape of one row of the inputs.
        dtype: Of the inputs.

    Raises:
        Unsuitable: A layer, or something about one, that the compiled code does not know.
    """
    drawing = _Drawing(sample)
    for name, module in _layers("", model):
        if list(module.buffers(recurse=False)) or list(module.parameters(recurse=False)):
            _require_plain(name, module, dtype)
        drawing.add(name, module)
    return drawing.layout(model, dtype)


def _layers(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a sequence's layers in order, those of nested sequences too."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, kind) for kind in hooks):
        raise Unsuitable(f"{_shown(name, module)} has hooks")
    if type(module) is not nn.Sequential:
        yield name, module
        return
    for child, layer in module._modules.items():  # named_children leaves out what comes twice
        assert layer is not None
        yield from _layers(f"{name}.{child}" if name else child, layer)


def _require_plain(name: str, module: nn.Module, dtype: torch.dtype) -> None:
    for parameter in module.parameters(recurse=False):
        if parameter._backward_hooks:
            raise Unsuitable(f"{_shown(name, module)} has hooks")
        if not parameter.requires_grad:
            raise Unsuitable(f"{_shown(name, module)} has a frozen parameter")
        if parameter.dtype != dtype or parameter.device.type != "cpu":
            raise Unsuitable(
                f"{_shown(name, module)} computes in {parameter.dtype} on "
                f"{parameter.device.type}, the inputs are {dtype} on the CPU"
            )


def _shown(name: str, module: nn.Module) -> str:
    return f"layer '{name}' ({type(module).__name__})"


@final
class _Drawing:
    """A table as it grows, layer by layer."""

    def __init__(self, sample: tuple[int, ...]) -> None:
        self._flat = len(sample) == 1
        self._rows: list[dict[Column, int]] = []
        self._numbers: list[tuple[float, float]] = []
        self._shelves: dict[int, tuple[Where, int]] = {}
        self._sizes: dict[Where, int] = {"parameters": 0, "statistics": 0}
        self._width = self._room = self._widest = prod(sample)
        self._buffer = 0

    def add(self, name: str, module: nn.Module) -> None:
        """Add a layer.

        Raises:
            Unsuitable: It is none of those known, or does not fit.
        """
        shown = _shown(name, module)
        if type(module) is nn.Flatten:
            if module.start_dim != 1 or module.end_dim != -1:
                raise Unsuitable(f"{shown} does not flatten whole rows")
            self._flat = True
        elif not self._flat:
            raise Unsuitable(f"{shown} gets rows that are not flat")
        elif type(module) is nn.Linear:
            self._linear(shown, module)
        elif type(module) is nn.BatchNorm1d or type(module) is nn.LayerNorm:
            self._norm(shown, module)
        elif type(module) is KeyedDropout:
            self._dropout(shown, module)
        else:
            self._activation(shown, module)

    def layout(self, model: nn.Module, dtype: torch.dtype) -> Layout:
        """Return what was drawn."""
        kinds = self._kinds()
        if Kind.LINEAR not in kinds:
            raise Unsuitable("the model has no linear layer")
        state = model.state_dict(keep_vars=True)
        if any(id(value) not in self._shelves for value in state.values()):
            raise Unsuitable("the model has parameters outside its layers")
        shelves = tuple(
            Shelf(name=name, where=where, place=place, shape=tuple(value.shape))
            for name, value in state.items()
            for where, place in [self._shelves[id(value)]]
        )
        table = [[row.get(column, -1) for column in Column] for row in self._rows]
        return Layout(
            table=np.array(table, dtype=np.int64),
            numbers=np.array(self._numbers, dtype=torch.empty(0, dtype=dtype).numpy().dtype),
            shelves=shelves,
            parameters=self._sizes["parameters"],
            statistics=self._sizes["statistics"],
            room=self._room,
            widest=self._widest,
            dropouts=kinds.count(Kind.DROPOUT),
            outputs=self._width,
            batch_norms=Kind.BATCH_NORM in kinds,
        )

    def _linear(self, shown: str, module: nn.Linear) -> None:
        if module.in_features != self._width:
            raise Unsuitable(f"{shown} takes {module.in_features} numbers and gets {self._width}")
        weight = self._keep(shown, "parameters", module.weight)
        bias = -1 if module.bias is None else self._keep(shown, "parameters", module.bias)
        self._operate(Kind.LINEAR, module.out_features, {Column.WEIGHT: weight, Column.BIAS: bias})

    def _norm(self, shown: str, module: nn.BatchNorm1d | nn.LayerNorm) -> None:
        if module.weight is None or module.bias is None:
            raise Unsuitable(f"{shown} has no gain or no shift")
        if module.weight.shape != (self._width,):
            raise Unsuitable(f"{shown} takes {tuple(module.weight.shape)}, gets {self._width}")
        more = {
            Column.WEIGHT: self._keep(shown, "parameters", module.weight),
            Column.BIAS: self._keep(shown, "parameters", module.bias),
            Column.KEPT: self._new_buffer(self._width),
        }
        if isinstance(module, nn.LayerNorm):
            self._new_buffer(1)  # right behind: 1 / deviation of every row
            self._operate(Kind.LAYER_NORM, self._width, more, (module.eps, 0.0))
            return
        if module.momentum is None or module.running_mean is None or module.running_var is None:
            raise Unsuitable(f"{shown} keeps no moving averages")
        more[Column.STATISTICS] = self._keep(shown, "statistics", module.running_mean)
        self._keep(shown, "statistics", module.running_var)
        self._sizes["statistics"] += self._width  # behind them: 1 / deviation of every column
        assert module.num_batches_tracked is not None
        self._shelves[id(module.num_batches_tracked)] = ("counter", 0)
        self._operate(Kind.BATCH_NORM, self._width, more, (module.eps, module.momentum))

    def _activation(self, shown: str, module: nn.Module) -> None:
        if type(module) is nn.ReLU or type(module) is nn.LeakyReLU:
            slope = float(getattr(module, "negative_slope", 0.0))
            if slope < 0:
                raise Unsuitable(f"{shown} has a slope below zero")
            self._operate(Kind.RECTIFIER, self._width, {}, (slope, 0.0))
            return
        kind = _SMOOTH.get(type(module))
        if kind is None or getattr(module, "approximate", "none") != "none":
            raise Unsuitable(f"{shown} is none of those that it knows")
        more = {Column.OPTION: int(kind), Column.KEPT: self._new_buffer(self._width)}
        self._operate(Kind.SMOOTH, self._width, more, (float(getattr(module, "alpha", 1.0)), 0.0))

    def _dropout(self, shown: str, module: KeyedDropout) -> None:
        if module.shared_axes or module.p >= 1:
            raise Unsuitable(f"{shown} drops whole rows, or all")
        more = {Column.OPTION: threshold(module.p), Column.KEPT: self._new_buffer(self._width)}
        self._operate(Kind.DROPOUT, self._width, more, (1 / (1 - module.p), 0.0))

    def _operate(
        self,
        kind: Kind,
        width: int,
        more: Mapping[Column, int],
        numbers: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Add an operation, in place where nobody reads its input again."""
        fresh = kind == Kind.LINEAR or self._kinds()[-1:] == [Kind.RECTIFIER]
        target = self._new_buffer(width) if fresh else self._buffer
        row = {Column.KIND: kind, Column.INPUTS: self._width, Column.OUTPUTS: width}
        self._rows.append({**row, Column.SOURCE: self._buffer, Column.TARGET: target, **more})
        self._numbers.append(numbers)
        self._buffer, self._width = target, width
        self._widest = max(self._widest, width)

    def _kinds(self) -> list[int]:
        return [row[Column.KIND] for row in self._rows]

    def _new_buffer(self, width: int) -> int:
        self._room += width
        return self._room - width

    def _keep(self, shown: str, where: Where, value: Tensor) -> int:
        """Return the place of a parameter or statistic, the next one in its array."""
        if id(value) in self._shelves:
            raise Unsuitable(f"{shown} shares its parameters with another layer")
        place = self._sizes[where]
        self._shelves[id(value)] = (where, place)
        self._sizes[where] += value.numel()
        return place
