"""Growth of a trained model: what one more neuron in each layer brings, and which ranks it uses.

    diagnosis = measure_growth(model, training=samples, held_out=others, loss=loss)
    diagnosis.bottleneck            # the layer whose next neuron lowers the loss most, if one leads

The neuron of each layer is chosen on training rows (`neuron`), its size by the training loss along
that one direction, and both its first-order gain and what it really takes off the loss are measured
on held-out rows, put into the running model: what fits the noise of the training rows brings
nothing there. Intervals are over ten parts of the held-out rows.

Entry points: `measure_growth`, `ModelGrowth`, `LayerGrowth`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from ..errors import ModelError, describe_error
from ..user_code import user_code_location, user_errors
from .constant_loss import best_constant
from .estimates import Interval, mean_interval
from .gradients import LossOfOutput, reader_gradients
from .junctions import NoJunction, find_junction
from .layers import PROBE_ROWS, Layer, find_layers, frozen, row_capacity, run_model
from .neuron import NewNeuron, fit_neuron
from .rank import ActivationRank, activation_rank
from .samples import Samples

PARTS = 10
"""Parts of the held-out rows, over which intervals are taken."""
_SIZES = tuple(2.0**power for power in range(-10, 2))
"""Sizes of what a neuron adds, in standard deviations of the reader's outputs."""


@dataclass(frozen=True, kw_only=True)
class LayerGrowth:
    """What is known of one layer.

    Attributes:
        layer: Its path in the model.
        title: The layer for people.
        number: Its place in the order of the calls, from 1.
        width: Neurons or channels.
        rank: Of its activations, as the next layer gets them; None where there are none to see.
        reader: The layer that reads it; None where it cannot grow by itself.
        reason: Why it cannot grow by itself; None where it can.
        first_order: First-order gain on held-out rows: loss a unit of what the neuron adds, in
            standard deviations of the reader's outputs; None where it cannot grow.
        first_orders: The same for each part of the held-out rows.
        gain: What one more neuron takes off the held-out loss as it is put in.
        size: How much it adds, in that unit, at `gain`.
        expressivity: Share of the squared gradient at the reader that no other outgoing weights of
            the present neurons can follow (TINY), 0 to 1.
        gradmax: Largest singular value of the gradient by new weights (GradMax), loss a unit of
            incoming and outgoing norm; None where positions are pooled or flattened in between.
        parameters: That one more neuron has.
    """

    layer: str
    title: str
    number: int
    width: int
    rank: ActivationRank | None
    reader: str | None = None
    reason: str | None = None
    first_order: Interval | None = None
    first_orders: Sequence[float] = ()
    gain: Interval | None = None
    size: float | None = None
    expressivity: float | None = None
    gradmax: float | None = None
    parameters: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelGrowth:
    """What is known of a model.

    Attributes:
        loss: On the held-out rows.
        training_loss: On the training rows.
        constant_loss: Of the best constant output, on the held-out rows; None where unknown.
        trained: Whether the held-out loss is below the constant's by more than chance; True
            where that is unknown.
        rows: Training rows that were used.
        held_out_rows: Held-out rows that were used.
        layers: In the order of the calls.
    """

    loss: Interval
    training_loss: float
    constant_loss: float | None
    trained: bool
    rows: int
    held_out_rows: int
    layers: Sequence[LayerGrowth]

    @property
    def by_gain(self) -> list[LayerGrowth]:
        """The layers that can grow, the largest first-order gain first."""
        growing = [layer for layer in self.layers if layer.first_order is not None]
        return sorted(growing, key=lambda layer: -_mean(layer.first_order))

    @property
    def lead(self) -> Interval | None:
        """By how much the first layer's gain exceeds the next's, part by part; None without two."""
        if len(self.by_gain) < 2:
            return None
        first, second = self.by_gain[:2]
        pairs = zip(first.first_orders, second.first_orders, strict=True)
        return mean_interval([mine - other for mine, other in pairs])

    @property
    def bottleneck(self) -> LayerGrowth | None:
        """The layer whose next neuron brings most, more than the next one's and than chance."""
        if not self.trained or not self.by_gain:
            return None
        first, lead = self.by_gain[0], self.lead
        is_certain = first.first_order is not None and first.first_order.low > 0
        return first if is_certain and (lead is None or lead.low > 0) else None


def _mean(interval: Interval | None) -> float:
    return 0.0 if interval is None else interval.mean


def measure_growth(
    model: nn.Module,
    *,
    training: Samples,
    held_out: Samples,
    loss: LossOfOutput,
    seed: int = 0,
) -> ModelGrowth:
    """Measure what one more neuron would bring in each layer.

    Args:
        model: Trained; it is left in evaluation mode, its weights as they were.
        training: Rows that neurons are chosen on.
        held_out: Rows that they are judged on, others than these.
        loss: The mean over the rows.
        seed: Of the first weights of new neurons, and of which rows are drawn of many.

    Raises:
        ModelError: The model or the loss raises, gives no number, or has no layer that is known.
    """
    model.eval()
    with frozen(model), user_errors(_model_error):
        layers = find_layers(model, training.select(slice(0, PROBE_ROWS)))
        if not layers:
            raise ModelError(
                "the model calls no Linear, convolution, recurrent or attention layer: there is "
                "nothing whose width could be judged."
            )
        capacity = row_capacity(model, layers, training)
        training = training.draw(capacity, seed)
        held_out = held_out.draw(PARTS * capacity, seed + 1)
        parts = held_out.split(PARTS)
        _check_deterministic(model, parts[0])
        losses = [_loss(model, part, loss) for part in parts]
        if not all(map(isfinite, losses)):
            raise ModelError(
                "the loss of the held-out rows is not finite: give the weights of a training that "
                "did not diverge, and data as the model was trained on."
            )
        constant = _constant_losses(model, training, parts, loss)
        below = None
        if constant is not None:
            differences = [other - mine for mine, other in zip(losses, constant, strict=True)]
            below = mean_interval(differences).low > 0
        return ModelGrowth(
            loss=mean_interval(losses),
            training_loss=_loss(model, training, loss),
            constant_loss=None if constant is None else sum(constant) / len(constant),
            trained=below is not False,
            rows=training.rows,
            held_out_rows=held_out.rows,
            layers=[
                _measure_layer(model, layers, layer, training, parts, losses, loss, seed)
                for layer in layers
            ],
        )


def _measure_layer(
    model: nn.Module,
    layers: Sequence[Layer],
    layer: Layer,
    training: Samples,
    parts: Sequence[Samples],
    losses: Sequence[float],
    loss: LossOfOutput,
    seed: int,
) -> LayerGrowth:
    """Return what is known of a layer."""
    known = {
        "layer": layer.name,
        "title": layer.title,
        "number": layer.number,
        "width": layer.width,
    }
    try:
        junction = find_junction(model, layers, layer, training.select(slice(0, PROBE_ROWS)))
    except NoJunction as obstacle:
        rank = _output_rank(model, layer, training)
        return LayerGrowth(**known, rank=rank, reason=str(obstacle))  # type: ignore[arg-type]
    gradients = reader_gradients(model, junction, training, loss, seed)
    rank = activation_rank(_channels(gradients.present[:, :-1], junction.features))
    neuron = fit_neuron(model, gradients, training, seed)
    shared = {
        **known,
        "rank": rank,
        "reader": junction.reader.title,
        "expressivity": gradients.bottleneck,
        "gradmax": gradients.gradmax,
    }
    if neuron is None:
        nothing = mean_interval([0.0] * len(parts))
        return LayerGrowth(
            **shared,  # type: ignore[arg-type]
            first_order=nothing,
            first_orders=[0.0] * len(parts),
            gain=nothing,
            size=0.0,
            parameters=0,
        )
    size = _best_size(model, neuron, training, loss)
    gains = [
        before - _loss_with(model, neuron, part, loss, size)
        for part, before in zip(parts, losses, strict=True)
    ]
    first_orders = [first_order(model, neuron, part, loss) for part in parts]
    return LayerGrowth(
        **shared,  # type: ignore[arg-type]
        first_order=mean_interval(first_orders),
        first_orders=first_orders,
        gain=mean_interval(gains),
        size=size,
        parameters=neuron.incoming.numel() + neuron.outgoing.numel() + _bias_count(layer),
    )


def first_order(model: nn.Module, neuron: NewNeuron, samples: Samples, loss: LossOfOutput) -> float:
    """Return −dL/ds at s = 0: what a unit of what the neuron adds takes off the loss, by autograd.

    The neuron's own unit is a standard deviation of the reader's outputs.
    """
    size = torch.zeros((), device=neuron.incoming.device, requires_grad=True)
    with torch.enable_grad():
        value = loss(neuron.run(model, samples, size), samples.targets)
        (slope,) = torch.autograd.grad(value, size)
    return -float(slope)


def _best_size(model: nn.Module, neuron: NewNeuron, samples: Samples, loss: LossOfOutput) -> float:
    """Return the size with the least training loss, 0 where none is better than no neuron."""
    values = {size: _loss_with(model, neuron, samples, loss, size) for size in (0.0, *_SIZES)}
    finite = {size: value for size, value in values.items() if isfinite(value)}
    return min(finite, key=lambda size: finite[size], default=0.0)


def _loss(model: nn.Module, samples: Samples, loss: LossOfOutput) -> float:
    with torch.no_grad():
        value = loss(run_model(model, samples), samples.targets)
    if not isinstance(value, Tensor) or value.ndim:
        raise ModelError("the loss is no scalar tensor: let it return the mean over the batch.")
    return float(value)


def _loss_with(
    model: nn.Module, neuron: NewNeuron, samples: Samples, loss: LossOfOutput, size: float
) -> float:
    with torch.no_grad():
        return float(loss(neuron.run(model, samples, size), samples.targets))


def _constant_losses(
    model: nn.Module, training: Samples, parts: Sequence[Samples], loss: LossOfOutput
) -> list[float] | None:
    """Return the loss of the best constant output on each part; None where it is unknown."""
    with torch.no_grad():
        output = run_model(model, training)
    if not isinstance(output, Tensor) or len(output) != training.rows:
        return None
    try:
        constant = best_constant(output, training.targets, loss)
        if constant is None:
            return None
        with torch.no_grad():
            return [
                float(loss(constant.expand(part.rows, *constant.shape), part.targets))
                for part in parts
            ]
    except Exception:  # a loss that only the model's own outputs suit leaves it unknown
        return None


def _output_rank(model: nn.Module, layer: Layer, samples: Samples) -> ActivationRank | None:
    """Return the rank of a layer's own outputs; None where they are no floating-point tensor."""
    caught: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: object) -> None:
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(first, Tensor) and first.is_floating_point():
            caught.append(first.detach())

    handle = layer.module.register_forward_hook(keep)
    try:
        with torch.no_grad():
            run_model(model, samples)
    finally:
        handle.remove()
    return activation_rank(layer.channels_last(caught[0])) if caught else None


def _channels(present: Tensor, features: Tensor) -> Tensor:
    """Return the reader's input by channel of the writer, [positions, width].

    What a kernel or flattened positions see of a channel are further positions.
    """
    width, count = features.shape
    kernel = present.shape[1] // features.numel()
    grouped = present.reshape(len(present), features.numel(), kernel)
    ordered = grouped[:, features.flatten().to(present.device)].reshape(-1, width, count * kernel)
    return ordered.movedim(2, 1).reshape(-1, width)


def _check_deterministic(model: nn.Module, samples: Samples) -> None:
    def outputs() -> list[Tensor]:
        from ..training.step import tensors_in

        with torch.no_grad():
            return list(tensors_in(run_model(model, samples)))

    if not all(_equal(a, b) for a, b in zip(outputs(), outputs(), strict=True)):
        raise ModelError(
            "the model gives other outputs for the same rows in evaluation mode: let it draw no "
            "random numbers there (F.dropout takes training=self.training)."
        )


def _equal(first: Tensor, second: Tensor) -> bool:
    """Return whether two outputs are the same, numbers that are none among them."""
    if not first.is_floating_point():
        return torch.equal(first, second)
    return torch.allclose(first, second, rtol=0, atol=0, equal_nan=True)


def _bias_count(layer: Layer) -> int:
    return int(getattr(layer.module, "bias", None) is not None)


def _model_error(error: BaseException) -> ModelError:
    return ModelError(
        f"the model or its loss raised {describe_error(error)}{user_code_location(error)}: make it "
        "take the rows of the data."
    )
