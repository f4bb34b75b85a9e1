"""The proxy's optimizer: AdamW, fused where that is safe, with a rate for each parameter.

Entry point: `make_optimizer`.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from .errors import ModelError


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


def _fusable(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether the fused kernel, which pairs raw memory, may take them: plain contiguous numbers."""
    return all(one.is_floating_point() and one.is_contiguous() for one in parameters)
