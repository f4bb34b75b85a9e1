"""A model's forward pass on tensors without memory, of which every size is a symbol.

Each dimension of each parameter and buffer, and each whole number that a layer carries (the number
of heads, a normalised shape, a user's own `self.d_model`), becomes a symbol. Then the model is
called once, and what torch's shape functions ask of the symbols is noted. Nothing is allocated.

Entry points: `run`, `Symbols`, `Origin`.
"""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

from ...interrupt import raise_if_interrupt
from ...trace.fake_model import FakeCPU
from .operator_rules import OPERATOR_RULES
from .polynomial import Polynomial
from .record import Record
from .remembered_int import RememberedInt, SizesRemembered, sym_int
from .symbolic_size import SizeNode, symbol

Kind = Literal["parameter", "buffer", "attribute"]

_TORCH_ATTRIBUTES = frozenset(
    {
        *("in_features", "out_features", "in1_features", "in2_features", "in_channels"),
        *("out_channels", "groups", "num_features", "num_channels", "num_groups"),
        *("normalized_shape", "d_model", "embed_dim", "kdim", "vdim", "num_heads", "head_dim"),
        *("input_size", "hidden_size", "proj_size", "embedding_dim", "num_embeddings"),
        *("num_parameters", "unflattened_size"),
    }
)
"""Whole numbers of torch's own layers that carry sizes; the others (strides, paddings, numbers of
layers) say how a layer computes."""


@final
@dataclass(frozen=True)
class Origin:
    """What a symbol stands for.

    Attributes:
        kind: A dimension of a parameter or a buffer, or a whole number that a layer carries.
        module: Dotted path of the layer; "" for the model itself.
        name: Of the parameter, buffer or attribute in that layer.
        dim: Which dimension; which item of an attribute that is a tuple.
    """

    kind: Kind
    module: str
    name: str
    dim: int


@final
@dataclass
class Symbols:
    """The symbols of a model, and what its forward pass says of them.

    Attributes:
        record: Equations and conditions.
        origins: What each symbol stands for, by its number; results of torch's own have none.
        parameters: For each parameter by its qualified name the symbol of every dimension; an int
            where the dimension is none.
        buffers: The same for buffers.
        attributes: The same for attributes, by layer and name; a tuple where the attribute is one.
        configured: The same for numbers of a configuration that layers hold, by the first layer
            that holds it and both names: `config.d_model`.
        called: Dotted paths of the layers that were called.
        outputs: Symbolic sizes of what the model returned, without the batch.
        output_sizes: Today's sizes of what the model returned; 1 for a number for each sample.
        stopped: Why the forward pass did not reach its end; None where it did.
    """

    record: Record = field(default_factory=Record)
    origins: dict[int, Origin] = field(default_factory=dict)
    parameters: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    buffers: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    attributes: dict[tuple[str, str], int | tuple[int | None, ...]] = field(default_factory=dict)
    configured: dict[tuple[str, str], int] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    outputs: set[Polynomial] = field(default_factory=set)
    output_sizes: set[int] = field(default_factory=set)
    stopped: BaseException | None = None

    def symbol(self, value: int, origin: Origin) -> SizeNode:
        """Return a new symbol with today's value."""
        node = symbol(self.record, value)
        self.origins[len(self.record.values) - 1] = origin
        return node


def run(model: nn.Module, call: Callable[[nn.Module], Any], mode: FakeCPU) -> Symbols:
    """Return what a model's forward pass says of its sizes.

    Args:
        model: With fake tensors of `mode`; it is left as it was.
        call: Calls the model with its inputs, which it makes inside `mode`.
        mode: Where the tensors live.
    """
    symbols = Symbols()
    with (
        mode,
        torch.no_grad(),
        _symbolic(model, symbols, mode),
        _calls_noted(model, symbols),
        _einops_uncached(),
    ):
        try:
            with SizesRemembered(symbols.record, OPERATOR_RULES):
                output = call(model)
            for tensor in _tensors(output):
                sizes = tensor.shape[1:] or (1,)
                symbols.outputs.update(filter(None, map(_polynomial, sizes)))
                symbols.output_sizes.update(int(size) for size in sizes)
        except BaseException as error:  # also sys.exit, which user code may call
            raise_if_interrupt(error)
            symbols.stopped = error
    return symbols


@contextmanager
def _symbolic(model: nn.Module, symbols: Symbols, mode: FakeCPU) -> Iterator[None]:
    """Replace a model's tensors and whole numbers by symbolic ones inside."""
    undo: list[tuple[dict[str, Any], str, Any]] = []
    flat_weights = [
        (module, list(module._flat_weights))
        for module in model.modules()
        if isinstance(module, nn.RNNBase)
    ]
    was_cached = mode.cache_enabled
    # A key of torch's cache is made of sympy's expressions.
    mode.cache_enabled = False
    made: dict[int, tuple[Tensor, tuple[int | None, ...]]] = {}
    try:
        for path, module in model.named_modules():
            for container in (module._parameters, module._buffers):
                is_parameter = container is module._parameters
                for name, tensor in list(container.items()):
                    if tensor is None:
                        continue
                    if id(tensor) not in made:
                        origin = Origin("parameter" if is_parameter else "buffer", path, name, 0)
                        made[id(tensor)] = _symbolic_tensor(tensor, origin, symbols, model)
                    new, numbers = made[id(tensor)]
                    undo.append((container, name, tensor))
                    container[name] = new
                    own = symbols.parameters if is_parameter else symbols.buffers
                    own[f"{path}.{name}" if path else name] = numbers
            for name, value in list(vars(module).items()):
                for holder, field_name, number in _symbolic_fields(path, name, value, symbols):
                    undo.append((holder, field_name, int(number)))
                    holder[field_name] = number
                new_value = _symbolic_attribute(module, path, name, value, symbols)
                if new_value is not None:
                    undo.append((vars(module), name, value))
                    vars(module)[name] = new_value
        for module, _ in flat_weights:
            # By name: a module that was built with real tensors has those in the list.
            module._flat_weights = [
                getattr(module, name, None) for name in module._flat_weights_names
            ]
        yield
    finally:
        for container, name, value in undo:
            container[name] = value
        for module, weights in flat_weights:
            module._flat_weights = weights
        mode.cache_enabled = was_cached


def _symbolic_tensor(
    tensor: Tensor, origin: Origin, symbols: Symbols, model: nn.Module
) -> tuple[Tensor, tuple[int | None, ...]]:
    """Return a tensor of symbolic sizes, and the symbol of each dimension that has one."""
    searched = 2 if _is_kernel(model, origin.module, tensor) else tensor.dim()
    sizes: list[Any] = []
    numbers: list[int | None] = []
    for dim, size in enumerate(tensor.shape):
        if dim < searched and size > 1:  # a size of 1 broadcasts
            node = symbols.symbol(int(size), replace(origin, dim=dim))
            sizes.append(sym_int(node))
            numbers.append(len(symbols.record.values) - 1)
        else:
            sizes.append(int(size))
            numbers.append(None)
    new = torch.empty(sizes, dtype=tensor.dtype)
    if isinstance(tensor, nn.Parameter):
        new = nn.Parameter(new, requires_grad=tensor.requires_grad)
    return new, tuple(numbers)


def _is_kernel(model: nn.Module, path: str, tensor: Tensor) -> bool:
    """Return whether a tensor is a convolution's, whose further dimensions are its window."""
    owner = model.get_submodule(path.partition(".parametrizations.")[0])
    if path.startswith("parametrizations."):
        owner = model
    return tensor.dim() > 2 and isinstance(owner, nn.modules.conv._ConvNd)


def _symbolic_attribute(
    module: nn.Module, path: str, name: str, value: Any, symbols: Symbols
) -> Any:
    """Return an attribute's symbolic value; None where it carries no size."""
    if type(module).__module__.startswith("torch.nn.") and name not in _TORCH_ATTRIBUTES:
        return None
    if name.startswith("_") and name.strip("_") in ("version", "modules", "parameters"):
        return None
    if type(value) is int:
        if value < 2:
            return None
        node = symbols.symbol(value, Origin("attribute", path, name, 0))
        symbols.attributes[path, name] = len(symbols.record.values) - 1
        return RememberedInt(node)
    if type(value) in (tuple, list, torch.Size) and value and all(type(v) is int for v in value):
        items: list[Any] = []
        numbers: list[int | None] = []
        for dim, item in enumerate(value):
            if item < 2:
                items.append(item)
                numbers.append(None)
                continue
            items.append(RememberedInt(symbols.symbol(item, Origin("attribute", path, name, dim))))
            numbers.append(len(symbols.record.values) - 1)
        symbols.attributes[path, name] = tuple(numbers)
        return items if type(value) is list else tuple(items)
    return None


def _symbolic_fields(
    path: str, name: str, value: Any, symbols: Symbols
) -> list[tuple[dict[str, Any], str, RememberedInt]]:
    """Return the whole numbers of a configuration that a layer holds, with where they stand.

    A configuration is a data class, a namespace or a dictionary by names; layers may share it.
    """
    holder = value if type(value) is dict else getattr(value, "__dict__", {})
    is_namespace = isinstance(value, types.SimpleNamespace | argparse.Namespace)
    is_record = is_dataclass(value) and not isinstance(value, type | nn.Module)
    if not (is_namespace or is_record or type(value) is dict):
        return []
    fields = []
    for field_name, number in holder.items():
        # A number that is a symbol already was met in another layer.
        if isinstance(field_name, str) and type(number) is int and number > 1:
            node = symbols.symbol(number, Origin("attribute", path, field_name, 0))
            symbols.configured[path, f"{name}.{field_name}"] = len(symbols.record.values) - 1
            fields.append((holder, field_name, RememberedInt(node)))
    return fields


@contextmanager
def _calls_noted(model: nn.Module, symbols: Symbols) -> Iterator[None]:
    """Note which layers are called."""

    def note(path: str) -> Callable[..., None]:
        return lambda *_: symbols.called.add(path)

    handles = [
        module.register_forward_pre_hook(note(path)) for path, module in model.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _einops_uncached() -> Iterator[None]:
    """Let einops compute shapes anew: its cache takes equal sizes for the same."""
    einops = sys.modules.get("einops.einops")
    name = "_reconstruct_from_shape"
    uncached = getattr(einops, f"{name}_uncached", None)
    if uncached is None:
        yield
        return
    cached = getattr(einops, name)
    setattr(einops, name, uncached)
    try:
        yield
    finally:
        setattr(einops, name, cached)


_CACHES = ("past_key_values", "cache")


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield all tensors of an output, nested or not.

    Neither what a decoder keeps for its next token is one, nor what stands beside named logits.
    """
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        named = [name for name in output if isinstance(name, str) and "logits" in name]
        names = named or [name for name in output if name not in _CACHES]
        yield from _tensors([output[name] for name in names])
    elif isinstance(output, list | tuple):
        for item in output:
            yield from _tensors(item)
    elif hasattr(output, "__dataclass_fields__"):
        yield from _tensors(vars(output))


def _polynomial(size: Any) -> Polynomial | None:
    """Return a symbolic size's polynomial; None for an int."""
    node = getattr(size, "node", None)
    return node.polynomial if isinstance(node, SizeNode) else None


DATA_DEPENDENT = (DataDependentOutputException, DynamicOutputShapeException)
"""What torch raises where a model asks for the values of tensors that have none."""
