"""The proxy's optimizer: AdamW, fused where that is safe, with a rate for each parameter.

Entry points: `make_adamw`; `schedule_factor`, how rates go over the steps of a training;
`adam_moments` and `load_moments` for the optimizer's state between steps.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .serialize import cpu_copy
from .snapshot import IncompatibleSnapshot, NetworkState

_TORCH_STATE_KEYS = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq", "updates": "step"}
"""Kinds of tensors in a snapshot, with torch's names for them."""


Schedule = Literal["constant", "cosine", "one-cycle"]
"""How the learning rate goes over a training; see `schedule_factor`."""

ONE_CYCLE_WARMUP = 0.3
"""Share of the steps in which a one-cycle schedule rises; torch's default."""

_ONE_CYCLE_START, _ONE_CYCLE_END = 1 / 25, 1 / 25 / 1e4
"""First and last factor of a one-cycle schedule; torch's defaults."""


def schedule_factor(schedule: Schedule, step: int, total_steps: int) -> float:
    """Return what the learning rate is multiplied by in a step.

    - "constant": 1.
    - "cosine": (1 + cos(pi t / T)) / 2, from 1 to 0 (Loshchilov & Hutter, "SGDR", 2017);
      torch's `CosineAnnealingLR(T_max=T)`.
    - "one-cycle": from 1/25 up to 1 in the first 30 % of the steps, then down to 1/250,000, both
      by half a cosine (Smith & Topin, "Super-convergence", 2018); torch's `OneCycleLR`.

    Args:
        schedule: Its name.
        step: Updates done before, from 0; beyond the last step its factor stays.
        total_steps: Updates of the training at most.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return (1 + math.cos(math.pi * min(step, total_steps) / total_steps)) / 2
    last, top = total_steps - 1, ONE_CYCLE_WARMUP * total_steps - 1
    step = min(step, last)
    if step <= top:
        return _cosine_between(_ONE_CYCLE_START, 1.0, step / top)
    return _cosine_between(1.0, _ONE_CYCLE_END, (step - top) / (last - top))


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def make_adamw(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.0,
    factors: Mapping[str, float] | None = None,
    *,
    fused: bool | None = None,
) -> torch.optim.AdamW:
    """Return AdamW over the model's trainable parameters; the cost counter traces the very same.

    Decay is decoupled and width-independent: a parameter whose rate is multiplied by f has its
    decay divided by f, so that each step shrinks every weight by rate · decay.

    Args:
        model: Any module.
        learning_rate: Adam's step size.
        weight_decay: Decoupled decay.
        factors: Parameter name to the factor on its rate; 1 where it is not named.
        fused: Whether to use torch's fused kernel; None to do so where that is safe.

    Raises:
        ModelError: There is nothing to train.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((factors or {}).get(name, 1.0), []).append(parameter)
    if not groups:
        raise ModelError("the model has no parameter to train: give it at least one.")
    if fused is None:
        fused = _supports_fused(parameter for group in groups.values() for parameter in group)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": learning_rate * factor,
                "weight_decay": weight_decay / factor,
            }
            for factor, parameters in groups.items()
        ],
        lr=learning_rate,
        fused=fused or None,
        # Else torch's choice depends on the device: on a GPU the temporaries of all parameters
        # would be alive at once, which no trace on a CPU sees.
        foreach=None if fused else False,
    )


def adam_moments(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Return copies of AdamW's state of every parameter it changed: `exp_avg.NAME` and so on."""
    return {
        f"{kind}.{name}": cpu_copy(optimizer.state[parameter][key])
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for kind, key in _TORCH_STATE_KEYS.items()
    }


def load_moments(
    model: nn.Module, optimizer: torch.optim.AdamW, network_state: NetworkState
) -> None:
    """Load AdamW's state from a snapshot; the optimizer must not have made a step.

    Raises:
        IncompatibleSnapshot: It holds moments of other parameters.
    """
    means, squares, updates = (network_state.tensors_of(kind) for kind in _TORCH_STATE_KEYS)
    fused = {
        id(parameter): bool(group["fused"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    parameters = {
        name: parameter for name, parameter in model.named_parameters() if id(parameter) in fused
    }
    for name, stored in means.items():
        if name not in parameters or parameters[name].shape != stored.shape:
            raise IncompatibleSnapshot(
                f"the model has no parameter '{name}' of shape {list(stored.shape)} to train"
            )
        parameter = parameters[name]
        step_device = parameter.device if fused[id(parameter)] else torch.device("cpu")
        # Laid out as the parameter is: the fused kernel pairs raw memory.
        optimizer.state[parameter] = {
            "step": updates[name].to(step_device, copy=True),
            "exp_avg": torch.zeros_like(parameter).detach().copy_(stored),
            "exp_avg_sq": torch.zeros_like(parameter).detach().copy_(squares[name]),
        }


def _supports_fused(parameters: Iterable[nn.Parameter]) -> bool:
    """Return whether all are contiguous floats: the fused kernel pairs raw memory."""
    return all(
        parameter.is_floating_point() and parameter.is_contiguous() for parameter in parameters
    )
