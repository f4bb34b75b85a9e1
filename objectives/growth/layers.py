"""Layers of a model as it runs: those that may grow, and hooks that look at them or change them.

A layer is a Linear or a plain convolution that the model calls once for each pass; recurrent and
attention layers are known by their outputs alone. Entry points: `find_layers`, `Layer`,
`run_model`;
`row_capacity` and `frozen` for what runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from .samples import Samples

OutputChange = Callable[[Tensor, Tensor], Tensor]
"""`(input, output) -> output` of a layer, in place of its own."""

InputView = Callable[[Tensor], None]
"""Called with the input of a layer before it runs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A layer of a model.

    Attributes:
        name: Its path in the model, such as "net.2"; "" for the model itself.
        number: Its place in the order of the calls, from 1.
        module: The layer.
        calls: How often a pass calls it.
    """

    name: str
    number: int
    module: nn.Module
    calls: int

    @property
    def kind(self) -> str:
        """The class's name."""
        return type(self.module).__name__

    @property
    def width(self) -> int:
        """Neurons or channels of its output."""
        module = self.module
        if isinstance(module, nn.Linear):
            return module.out_features
        if isinstance(module, _ConvNd):
            return module.out_channels
        if isinstance(module, nn.MultiheadAttention):
            return int(module.embed_dim)
        assert isinstance(module, nn.RNNBase)
        return int(module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)

    @property
    def fan_in(self) -> int:
        """Features or channels of its input."""
        module = self.module
        if isinstance(module, nn.Linear):
            return module.in_features
        if isinstance(module, _ConvNd):
            return module.in_channels
        if isinstance(module, nn.MultiheadAttention):
            return int(module.embed_dim)
        assert isinstance(module, nn.RNNBase)
        return int(module.input_size)

    @property
    def is_linear_map(self) -> bool:
        """Whether its output is a linear map of its input that a column can be added to."""
        module = self.module
        if isinstance(module, _ConvNd):
            plain = module.groups == 1 and module.padding_mode == "zeros"
            return (
                plain
                and not isinstance(module, _ConvTransposeNd)
                and isinstance(module, nn.Conv1d | nn.Conv2d)
            )
        return isinstance(module, nn.Linear)

    @property
    def title(self) -> str:
        """The layer for people: "layer 2 (net.2, Linear 64 → 32)"."""
        name = f"{self.name}, " if self.name else ""
        return f"layer {self.number} ({name}{self.kind} {self.fan_in} → {self.width})"

    def channels_last(self, tensor: Tensor) -> Tensor:
        """Return an input or output of the layer as [positions, channels]."""
        if isinstance(self.module, _ConvNd):
            tensor = tensor.movedim(1, -1)
        return tensor.reshape(-1, tensor.shape[-1])

    def channel_axis(self, tensor: Tensor) -> int:
        """Return which axis of an input or output holds the channels."""
        return 1 if isinstance(self.module, _ConvNd) else tensor.ndim - 1


PROBE_ROWS = 4
"""Rows with which the layers' connections are tried out."""
_MAX_NUMBERS = 2**25
"""Numbers of all layers' outputs that a pass may hold: 128 MiB in single precision."""
_KNOWN = (nn.Linear, _ConvNd, nn.RNNBase, nn.MultiheadAttention)


class _Reached(BaseException):
    """The layer that a pass was to reach has been reached; no `except Exception` stops it."""


def find_layers(model: nn.Module, samples: Samples) -> list[Layer]:
    """Return the layers that a pass calls, in the order of their first calls."""
    calls: dict[nn.Module, int] = {}
    names: dict[nn.Module, str] = {}
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, _KNOWN):
                names.setdefault(module, name)

                def count(module: nn.Module, *_: Any) -> None:
                    calls[module] = calls.get(module, 0) + 1

                hooks.callback(module.register_forward_hook(count).remove)
        with plain_attention(), torch.no_grad():
            samples.call(model)
    return [
        Layer(name=names[module], number=number, module=module, calls=count)
        for number, (module, count) in enumerate(calls.items(), start=1)
    ]


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let torch's encoder layers call their parts, which its fused short cut leaves out."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def run_model(
    model: nn.Module,
    samples: Samples,
    *,
    change: Mapping[Layer, OutputChange] | None = None,
    look: Mapping[Layer, InputView] | None = None,
    until: Layer | None = None,
) -> Any:
    """Return the model's output for the samples, with layers changed or looked at on the way.

    Args:
        model: In the mode that it is to run in.
        samples: What to call it with.
        change: Replacements of layers' outputs.
        look: What is called with layers' inputs.
        until: A layer before which the pass ends; its input is looked at first. Then None.
    """
    change, look = change or {}, look or {}
    with ExitStack() as hooks, plain_attention():
        for layer, replacement in change.items():
            handle = layer.module.register_forward_hook(_changing(replacement), with_kwargs=True)
            hooks.callback(handle.remove)
        for layer in {*look, *(() if until is None else (until,))}:
            view = _looking(look.get(layer), ends=layer is until)
            handle = layer.module.register_forward_pre_hook(view, with_kwargs=True)
            hooks.callback(handle.remove)
        try:
            return samples.call(model)
        except _Reached:
            return None


def _changing(replacement: OutputChange) -> Callable[..., Tensor]:
    def hook(_: nn.Module, arguments: Any, named: Mapping[str, Any], output: Tensor) -> Tensor:
        return replacement(_first(arguments, named), output)

    return hook


def _looking(view: InputView | None, *, ends: bool) -> Callable[..., None]:
    def hook(_: nn.Module, arguments: Any, named: Mapping[str, Any]) -> None:
        if view is not None:
            view(_first(arguments, named))
        if ends:
            raise _Reached

    return hook


def _first(arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Return a layer's input, which may be given by keyword."""
    return arguments[0] if arguments else next(iter(named.values()), None)


def row_capacity(model: nn.Module, layers: Sequence[Layer], samples: Samples) -> int:
    """Return how many rows a pass may have, by the size of all layers' outputs."""
    sizes: list[int] = []
    hooks = [
        layer.module.register_forward_hook(
            lambda _, __, output: sizes.append(
                (output[0] if isinstance(output, tuple) else output).numel()
            )
        )
        for layer in layers
    ]
    probe = samples.select(slice(0, PROBE_ROWS))
    try:
        with torch.no_grad():
            run_model(model, probe)
    finally:
        for hook in hooks:
            hook.remove()
    return max(64, min(4096, _MAX_NUMBERS * probe.rows // max(sum(sizes), 1)))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Keep autograd from the parameters: only what is added has gradients."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_()
