"""The probe: is a module the same when it is padded? Tried in float64 before a stack is trusted.

A few networks are stacked to their common widths, and losses, gradients, buffers and outputs are
compared with those of the networks by themselves. It is done at three points: the weights as drawn,
and all of them shifted up and down, so that a largest or smallest number among a layer's outputs
cannot hide the padding's zeros.

    safe            Linear, Conv, BatchNorm, dropout, pooling, residuals, heads of a fixed size
    safe if masked  LayerNorm and RMSNorm (`padding_norms`); sigmoid, by the padding's zero rate
    refused         softmax, largest, mean or deviation over the width; a concatenation of widths

Entry points: `require_stackable`, `prove`, `extremes`.
"""

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...data.dataset import Data, Split
from ...errors import reason
from ...model import keyed_dropout
from ...randomness import Randomness
from ..base import Training, Unsuitable
from .padding import Network, held, trainable
from .stack import Stack

ROWS = 16
"""Rows in a batch of the probe: enough for every unit to see several."""

RELATIVE = 1e-9
"""Largest difference beside a tensor's largest number: wrong sums differ by far more."""

ROUNDING = 1e-13
"""Likewise beside the largest of all gradients: some are zero but for rounding."""

SHIFTS = (0.0, 1.0, -1.0)
"""What is added to each weight, in mean sizes of its tensor's weights."""


def require_stackable(model: nn.Module) -> None:
    """Raise Unsuitable where a model's numbers have no place in a stack."""
    kinds = {one.dtype for one in trainable(model).values()}
    if kinds != {torch.float32} and kinds != {torch.float64}:
        found = " and ".join(sorted(map(str, kinds)))
        raise Unsuitable(f"weights are of {found}, a stack's are of torch.float32 or torch.float64")
    known = {id(one) for one in (trainable(model) | held(model)).values()}
    for name, one in model.state_dict(keep_vars=True).items():
        if id(one) not in known:
            raise Unsuitable(f"the state '{name}' is neither a parameter nor a buffer")


def prove(training: Training, networks: Sequence[Network], template: nn.Module) -> None:
    """Compare networks in a stack with themselves alone.

    Args:
        training: As the stack will be trained.
        networks: Of the widths to try; left as they are.
        template: A network of common widths; left as it is.

    Raises:
        Unsuitable: Something differs, or an operation cannot be stacked.
    """
    widths = " and ".join(str(dict(one.member.widths)) for one in networks)
    doubled = replace(training, data=_double(training))
    try:
        with Randomness(0, training.device), warnings.catch_warnings():
            # An operation without a mapped form is computed member by member: no gain, no stack.
            warnings.filterwarnings("error", "There is a performance drop", UserWarning)
            for point, shift in enumerate(SHIFTS):
                _compare(doubled, networks, deepcopy(template).double(), point, shift)
    except Unsuitable as difference:
        raise Unsuitable(f"{difference} when networks of {widths} are padded") from None
    except Exception as error:
        raise Unsuitable(f"it cannot be stacked: {reason(error)}") from error


def extremes(networks: Sequence[Network]) -> list[Network]:
    """Return the networks that a common width pads most, one a width, and two at least if any."""
    chosen = {one.place: one for one in (networks[0], networks[-1])}
    for name in networks[0].member.widths:
        least = min(networks, key=lambda one: one.member.widths[name])
        chosen[least.place] = least
    return list(chosen.values())


def _compare(
    training: Training,
    networks: Sequence[Network],
    template: nn.Module,
    point: int,
    shift: float,
) -> None:
    models = [_shifted(deepcopy(one.model).double(), shift) for one in networks]
    stack = Stack(
        training,
        [replace(one, model=model) for one, model in zip(networks, models, strict=True)],
        template,
    )
    data = training.data.train
    places = torch.arange(ROWS) + ROWS * torch.arange(point, point + len(models))[:, None]
    rows = (places % len(data)).to(training.device)
    losses, gradients = stack.gradients(rows, point)
    if losses.shape != (len(models),):
        raise Unsuitable("the loss is no scalar")
    outputs = stack.predict(range(len(models)), data.inputs)
    for n, (network, model) in enumerate(zip(networks, models, strict=True)):
        keyed_dropout.set_step(keyed_dropout.layers(model), network.member.seed, point)
        loss, own = _gradients(training, model, rows[n])
        if shift == 0 and not loss.isfinite():
            raise Unsuitable(f"the loss is {float(loss)} before training, nothing can be compared")
        largest = max(map(_largest, own.values()))
        _require_close("the loss", losses[n], loss)
        for name, expected in own.items():
            _require_close(f"the gradient of '{name}'", gradients[n][name], expected, largest)
        state = stack.state(n)
        for name, expected in model.state_dict().items():
            _require_close(f"'{name}'", state[name], expected.cpu())
        for found, expected in _pairs(outputs[n], _outputs(model, data.inputs)):
            _require_close("the output", found, expected)


def _gradients(
    training: Training, model: nn.Module, rows: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a network's loss and its gradients by name, by itself."""
    data, parameters = training.data.train, trainable(model)
    output = model.train()(data.inputs.index_select(0, rows))
    loss = training.objective.loss(output, data.targets.index_select(0, rows))
    found: Sequence[Tensor | None] = torch.autograd.grad(
        loss, list(parameters.values()), allow_unused=True
    )
    gradients = {}
    for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
        if gradient is None and training.settings.weight_decay:
            # AdamW lets it be; in a stack it has a gradient of zero, and decays.
            raise Unsuitable(f"'{name}' takes no part in the loss")
        gradients[name] = torch.zeros_like(parameter) if gradient is None else gradient
    return loss.detach(), gradients


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Tensor) -> object:
    return model.eval()(inputs)


@torch.no_grad()
def _shifted(model: nn.Module, shift: float) -> nn.Module:
    for one in trainable(model).values():
        # A parameter that starts at zero, such as a bias, moves too.
        one.add_(shift * float(one.abs().mean() + 0.1) if one.numel() else 0.0)
    return model


def _pairs(found: object, expected: object) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(tree_leaves(found), tree_leaves(expected), strict=True)


def _require_close(what: str, found: Tensor, expected: Tensor, largest: float = 0.0) -> None:
    bound = RELATIVE * _largest(expected) + ROUNDING * largest
    if found.shape != expected.shape or not torch.allclose(
        found.double(), expected.double(), rtol=0.0, atol=bound, equal_nan=True
    ):
        raise Unsuitable(f"{what} differs")


def _largest(numbers: Tensor) -> float:
    """Return the largest finite size, 0 without any."""
    finite = numbers[numbers.isfinite()].abs()
    return float(finite.max()) if finite.numel() else 0.0


def _double(training: Training) -> Data:
    """Return the data with float64 for floating-point numbers; only the rows that are tried."""
    data = training.data
    rows = min(len(data.train), ROWS * (len(SHIFTS) + 8))
    inputs, targets = (
        # Rows that are no numbers would make all alike.
        one.double().nan_to_num() if one.is_floating_point() else one
        for one in (
            whole[:rows].to(training.device) for whole in (data.train.inputs, data.train.targets)
        )
    )
    return replace(data, train=Split(inputs=inputs, targets=targets))
