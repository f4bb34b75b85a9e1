"""Junctions: which layer reads what a layer writes, found by disturbing channels while it runs.

One more neuron is a row of a layer's weight and a column of the weight of the layer that reads it.
That is sound where (1) every channel goes its own way to that reader, through activations, pooling,
dropout or batch norm, and (2) nothing else reads it. Both are tried on the running model, whatever
its code looks like: one channel is disturbed, and the inputs of all layers are compared; then the
reader's own output is put back, and the model's output must be what it was.

Entry points: `find_junction`, `Junction`; `NoJunction` says why there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..training.step import tensors_in
from .layers import Layer, run_model
from .samples import Samples

_TOLERANCE = 1e-5
"""Largest relative change that is rounding: single precision, over some layers."""


class NoJunction(Exception):
    """One more neuron in a layer is not one row and one column; the message says why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Junction:
    """A layer, and the one that reads it.

    Attributes:
        writer: The layer that may grow.
        reader: The only layer that reads it.
        features: Of the reader's input, those that each channel of the writer becomes, [width, q]:
            q > 1 where positions were flattened into features.
    """

    writer: Layer
    reader: Layer
    features: Tensor


def find_junction(
    model: nn.Module, layers: Sequence[Layer], writer: Layer, samples: Samples
) -> Junction:
    """Return which layer reads a layer.

    Args:
        model: In evaluation mode, on the samples' device.
        layers: All of its layers, in order.
        writer: One of them.
        samples: A few rows.

    Raises:
        NoJunction: None does alone, or the channels are mixed on the way.
    """
    if not writer.is_linear_map:
        raise NoJunction(f"a neuron more in a {writer.kind} is more than a row and a column")
    if writer.calls > 1:
        raise NoJunction("the model calls it more than once in a pass")
    others = [layer for layer in layers if layer is not writer and layer.calls == 1]
    plain = _Pass(model, samples, others)
    channels = sorted({0, writer.width // 2, writer.width - 1})
    reader, layout = None, None
    for channel in channels:
        disturbed = _Pass(model, samples, others, writer, channel)
        changed = [layer for layer in others if plain.differs(disturbed, layer)]
        linear = [layer for layer in changed if layer.is_linear_map]
        if not changed:
            if not plain.output_differs(disturbed):
                raise NoJunction("nothing that it writes reaches the output")
            raise NoJunction("it is the last layer: its width is that of the outputs")
        if reader is not None and changed[0] is not reader:
            raise NoJunction("its channels go to different layers")
        if not linear or changed[0] is not linear[0]:
            raise NoJunction(f"it is read by a {changed[0].kind}, whose parts depend on its width")
        reader = changed[0]
        layout = _layout(plain.changed_features(disturbed, reader), writer, reader, channel, layout)
        restored = _Pass(model, samples, others, writer, channel, restore=(reader, plain))
        if plain.output_differs(restored):
            raise NoJunction(
                "more than one layer reads it (a residual sum, say): all that is added would have "
                "to grow with it"
            )
    assert reader is not None
    assert layout is not None
    return Junction(writer=writer, reader=reader, features=layout)


class _Pass:
    """One pass: the inputs of all layers, and the output.

    Args:
        model: In evaluation mode.
        samples: A few rows.
        layers: Whose inputs are kept.
        writer: Whose channel is disturbed; None for none.
        channel: Which one.
        restore: A layer whose output is put back to that of another pass.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        layers: Sequence[Layer],
        writer: Layer | None = None,
        channel: int = 0,
        restore: tuple[Layer, _Pass] | None = None,
    ) -> None:
        self.inputs: dict[Layer, Tensor] = {}
        self.outputs: dict[Layer, Tensor] = {}
        change: dict[Layer, Any] = {}
        for layer in layers:
            if layer.is_linear_map:
                change[layer] = self._keep_output(layer)
        if writer is not None:
            change[writer] = _disturbance(writer, channel)
        if restore is not None:
            layer, other = restore
            change[layer] = lambda _, __: other.outputs[layer].clone()
        look = {layer: self._keep_input(layer) for layer in layers}
        with torch.no_grad():
            output = run_model(model, samples, change=change, look=look)
        self.output = [tensor.detach().clone() for tensor in tensors_in(output)]

    def _keep_input(self, layer: Layer) -> Any:
        def keep(tensor: Any) -> None:
            if isinstance(tensor, Tensor):
                self.inputs[layer] = tensor.detach().clone()

        return keep

    def _keep_output(self, layer: Layer) -> Any:
        def keep(_: Tensor, output: Tensor) -> Tensor:
            self.outputs[layer] = output.detach().clone()
            return output

        return keep

    def differs(self, other: _Pass, layer: Layer) -> bool:
        """Return whether the input of a layer is another in another pass."""
        mine, theirs = self.inputs.get(layer), other.inputs.get(layer)
        return mine is not None and theirs is not None and _differ(mine, theirs)

    def output_differs(self, other: _Pass) -> bool:
        """Return whether the model's output is another in another pass."""
        pairs = zip(self.output, other.output, strict=True)
        return any(_differ(mine, theirs) for mine, theirs in pairs)

    def changed_features(self, other: _Pass, layer: Layer) -> Tensor:
        """Return which features of a layer's input are others in another pass, ascending."""
        mine = layer.channels_last(self.inputs[layer])
        theirs = layer.channels_last(other.inputs[layer])
        bound = _TOLERANCE * (1 + float(mine.abs().max()))
        return ((mine - theirs).abs().amax(dim=0) > bound).nonzero().flatten().cpu()


def _disturbance(writer: Layer, channel: int) -> Any:
    generator = torch.Generator().manual_seed(channel)

    def change(_: Tensor, output: Tensor) -> Tensor:
        changed = output.clone()
        view = changed.select(writer.channel_axis(output), channel)
        size = 3 * float(output.abs().max()) + 1
        noise = torch.randn(view.shape, generator=generator).to(view)
        view += size * noise
        return changed

    return change


def _differ(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return True
    if not first.is_floating_point():
        return not torch.equal(first, second)
    return bool((first - second).abs().max() > _TOLERANCE * (1 + first.abs().max()))


def _layout(
    changed: Tensor, writer: Layer, reader: Layer, channel: int, known: Tensor | None
) -> Tensor:
    """Return the features of the reader for each channel, [width, q].

    Args:
        changed: Features that the disturbed channel reached.
        writer: The layer that may grow.
        reader: The layer that reads it.
        channel: The disturbed one.
        known: The layout that an earlier channel showed.

    Raises:
        NoJunction: They are neither side by side nor in turns.
    """
    width, features = writer.width, reader.fan_in
    if features % width:
        raise NoJunction("what it writes is joined with other features before the next layer")
    for layout in _layouts(width, features) if known is None else (known,):
        if set(changed.tolist()) <= set(layout[channel].tolist()):
            return layout
    raise NoJunction(
        "its channels are mixed before the next layer (by a norm over channels, or attention)"
    )


def _layouts(width: int, features: int) -> Iterator[Tensor]:
    """Yield the ways in which channels may be flattened: side by side, or in turns."""
    numbers = torch.arange(features)
    yield numbers.reshape(width, -1)
    yield numbers.reshape(-1, width).T
