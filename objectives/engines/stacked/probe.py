"""The probe: whether a module computes the same when it is padded, tried in float64.

A few networks are stacked to their common widths, and losses, gradients, buffers and outputs are
compared with those of the networks by themselves. This is done at three points: the weights as
initialised, and all of them shifted up and down, so that a maximum or minimum over a layer's
outputs cannot hide the zeros of the padding.

    safe            Linear, Conv, BatchNorm, dropout, pooling, residuals, heads of a fixed size
    safe if masked  LayerNorm and RMSNorm (`padded_norms`); sigmoid, by the padding's zero rate
    refused         softmax, maximum, mean or deviation over the width; a concatenation of widths

Entry points: `require_stackable`, `check_equivalence`, `most_padded`.
"""

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...data.dataset import Data, Split
from ...errors import describe_error
from ...interrupt import raise_if_interrupt
from ...model import keyed_dropout
from ...randomness import Randomness
from ..base import EngineUnsupported, TrainingSetup
from .padding import BuiltMember, frozen_and_buffers, trainable_parameters
from .stack import Stack

PROBE_ROWS = 16
"""Rows in a batch of the probe: enough for every unit to see several."""

RELATIVE_TOLERANCE = 1e-9
"""Largest difference beside a tensor's largest number: wrong sums differ by far more."""

ROUNDING_TOLERANCE = 1e-13
"""Likewise beside the largest of all gradients: some are zero but for rounding."""

WEIGHT_SHIFTS = (0.0, 1.0, -1.0)
"""What is added to each weight, in mean sizes of its tensor's weights."""


def require_stackable(model: nn.Module) -> None:
    """Raise `EngineUnsupported` where a stack cannot hold a model's tensors."""
    dtypes = {tensor.dtype for tensor in trainable_parameters(model).values()}
    if dtypes != {torch.float32} and dtypes != {torch.float64}:
        dtype_names = " and ".join(sorted(map(str, dtypes)))
        raise EngineUnsupported(
            f"weights are of {dtype_names}, a stack's are of torch.float32 or torch.float64"
        )
    stored_ids = {
        id(tensor) for tensor in (trainable_parameters(model) | frozen_and_buffers(model)).values()
    }
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in stored_ids:
            raise EngineUnsupported(f"the state '{name}' is neither a parameter nor a buffer")


def check_equivalence(
    training: TrainingSetup, networks: Sequence[BuiltMember], template: nn.Module
) -> None:
    """Compare networks in a stack with the same networks by themselves.

    Args:
        training: How the stack will be trained.
        networks: Networks of the widths to try; not changed.
        template: A network of the common widths; not changed.

    Raises:
        EngineUnsupported: Something differs, or an operation cannot be stacked.
    """
    widths = " and ".join(str(dict(network.member.widths)) for network in networks)
    float64_training = replace(training, data=_float64_data(training))
    try:
        with Randomness(0, training.device), warnings.catch_warnings():
            # An operation without a mapped form is computed member by member: no gain, no stack.
            warnings.filterwarnings("error", "There is a performance drop", UserWarning)
            for point, shift in enumerate(WEIGHT_SHIFTS):
                _compare_at(float64_training, networks, deepcopy(template).double(), point, shift)
    except EngineUnsupported as difference:
        raise EngineUnsupported(f"{difference} when networks of {widths} are padded") from None
    except BaseException as error:
        raise_if_interrupt(error)
        raise EngineUnsupported(f"it cannot be stacked: {describe_error(error)}") from error


def most_padded(networks: Sequence[BuiltMember]) -> list[BuiltMember]:
    """Return, for each common width, the network that it pads most; two at least, if any."""
    by_index = {network.index: network for network in (networks[0], networks[-1])}
    for name in networks[0].member.widths:
        narrowest = min(networks, key=lambda network: network.member.widths[name])
        by_index[narrowest.index] = narrowest
    return list(by_index.values())


def _compare_at(
    training: TrainingSetup,
    networks: Sequence[BuiltMember],
    template: nn.Module,
    point: int,
    shift: float,
) -> None:
    models = [_shift_weights(deepcopy(network.model).double(), shift) for network in networks]
    stack = Stack(
        training,
        [replace(network, model=model) for network, model in zip(networks, models, strict=True)],
        template,
    )
    data = training.arrays.train
    row_numbers = (
        torch.arange(PROBE_ROWS) + PROBE_ROWS * torch.arange(point, point + len(models))[:, None]
    )
    rows = (row_numbers % len(data)).to(training.device)
    losses, gradients = stack.gradients(rows, point)
    if losses.shape != (len(models),):
        raise EngineUnsupported("the loss is no scalar")
    outputs = stack.predict(range(len(models)), data.inputs)
    for index, (network, model) in enumerate(zip(networks, models, strict=True)):
        keyed_dropout.set_step(keyed_dropout.keyed_layers(model), network.member.seed, point)
        loss, own_gradients = _gradients(training, model, rows[index])
        if shift == 0 and not loss.isfinite():
            raise EngineUnsupported(
                f"the loss is {float(loss)} before training, nothing can be compared"
            )
        max_gradient = max(map(_max_abs, own_gradients.values()))
        _require_close("the loss", losses[index], loss)
        for name, expected in own_gradients.items():
            _require_close(
                f"the gradient of '{name}'", gradients[index][name], expected, max_gradient
            )
        state = stack.state_dict(index)
        for name, expected in model.state_dict().items():
            _require_close(f"'{name}'", state[name], expected.cpu())
        for actual, expected in _leaf_pairs(outputs[index], _outputs(model, data.inputs)):
            _require_close("the output", actual, expected)


def _gradients(
    training: TrainingSetup, model: nn.Module, rows: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss and the gradients, by name, of a network by itself."""
    data, parameters = training.arrays.train, trainable_parameters(model)
    output = model.train()(data.inputs.index_select(0, rows))
    loss = training.objective.loss(output, data.targets.index_select(0, rows))
    raw_gradients: Sequence[Tensor | None] = torch.autograd.grad(
        loss, list(parameters.values()), allow_unused=True
    )
    gradients = {}
    for (name, parameter), gradient in zip(parameters.items(), raw_gradients, strict=True):
        if gradient is None and training.settings.weight_decay:
            # AdamW lets it be; in a stack it has a gradient of zero, and decays.
            raise EngineUnsupported(f"'{name}' takes no part in the loss")
        gradients[name] = torch.zeros_like(parameter) if gradient is None else gradient
    return loss.detach(), gradients


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Tensor) -> object:
    return model.eval()(inputs)


@torch.no_grad()
def _shift_weights(model: nn.Module, shift: float) -> nn.Module:
    for parameter in trainable_parameters(model).values():
        # A parameter that starts at zero, such as a bias, moves too.
        parameter.add_(shift * float(parameter.abs().mean() + 0.1) if parameter.numel() else 0.0)
    return model


def _leaf_pairs(actual: object, expected: object) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(tree_leaves(actual), tree_leaves(expected), strict=True)


def _require_close(quantity: str, actual: Tensor, expected: Tensor, scale: float = 0.0) -> None:
    bound = RELATIVE_TOLERANCE * _max_abs(expected) + ROUNDING_TOLERANCE * scale
    if actual.shape != expected.shape or not torch.allclose(
        actual.double(), expected.double(), rtol=0.0, atol=bound, equal_nan=True
    ):
        raise EngineUnsupported(f"{quantity} differs")


def _max_abs(numbers: Tensor) -> float:
    """Return the largest finite absolute value; 0 without any."""
    finite = numbers[numbers.isfinite()].abs()
    return float(finite.max()) if finite.numel() else 0.0


def _float64_data(training: TrainingSetup) -> Data:
    """Return the rows that are tried, with float64 for floating-point numbers."""
    data = training.arrays
    rows = min(len(data.train), PROBE_ROWS * (len(WEIGHT_SHIFTS) + 8))
    inputs, targets = (
        # Rows that are no numbers would make all alike.
        tensor.double().nan_to_num() if tensor.is_floating_point() else tensor
        for tensor in (
            values[:rows].to(training.device) for values in (data.train.inputs, data.train.targets)
        )
    )
    return replace(data, train=Split(inputs=inputs, targets=targets))
