"""The proxy's optimizer: AdamW, fused where that is safe, with a rate for each parameter.

Entry points: `make_optimizer`; `moments` and `set_moments`, what it remembers between steps.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .serialize import on_cpu
from .snapshot import Progress, Unfit

_KEPT = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq", "updates": "step"}
"""Kinds of tensors in a snapshot, with torch's names for them."""


def make_optimizer(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.0,
    factors: Mapping[str, float] | None = None,
) -> torch.optim.AdamW:
    """Return AdamW over the model's trainable parameters; the cost counter traces the very same.

    Decay is decoupled and width-independent: a parameter whose rate is multiplied by f has its
    decay divided by f, so that each step shrinks every weight by rate · decay.

    Args:
        model: Any module.
        learning_rate: Adam's step size.
        weight_decay: Decoupled decay.
        factors: Parameter name to the factor on its rate; 1 where it is not named.

    Raises:
        ModelError: There is nothing to train.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((factors or {}).get(name, 1.0), []).append(parameter)
    if not groups:
        raise ModelError("the model has no parameter to train: give it at least one.")
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
        fused=_fusable(parameter for group in groups.values() for parameter in group) or None,
    )


def moments(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Return copies of what AdamW knows of every parameter it changed: `exp_avg.NAME` and so on."""
    return {
        f"{kind}.{name}": on_cpu(optimizer.state[parameter][key])
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for kind, key in _KEPT.items()
    }


def set_moments(model: nn.Module, optimizer: torch.optim.AdamW, progress: Progress) -> None:
    """Have AdamW know what it knew; it must not have done a step.

    Raises:
        Unfit: There are moments of other parameters.
    """
    means, squares, updates = (progress.of(kind) for kind in _KEPT)
    fused = {
        id(parameter): bool(group["fused"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    parameters = {name: p for name, p in model.named_parameters() if id(p) in fused}
    for name, kept in means.items():
        if name not in parameters or parameters[name].shape != kept.shape:
            raise Unfit(f"the model has no parameter '{name}' of shape {list(kept.shape)} to train")
        parameter = parameters[name]
        home = parameter.device if fused[id(parameter)] else torch.device("cpu")
        # Laid out as the parameter is: the fused kernel pairs raw memory.
        optimizer.state[parameter] = {
            "step": updates[name].to(home, copy=True),
            "exp_avg": torch.zeros_like(parameter).detach().copy_(kept),
            "exp_avg_sq": torch.zeros_like(parameter).detach().copy_(squares[name]),
        }


def _fusable(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether the fused kernel, which pairs raw memory, may take them: plain contiguous numbers."""
    return all(one.is_floating_point() and one.is_contiguous() for one in parameters)
