"""Lazy layers: modules whose weights are made when they first see an input.

`nn.LazyLinear(64)` takes its fan-in from the first batch. A model with such layers has nothing to
count, initialise or hand to an optimizer before, so a forward pass comes first.

Entry points: `has_lazy_layers`, `materialise_lazy_layers`.
"""

import torch
from torch import nn

from ..data.streams.batch import Batch


def has_lazy_layers(model: nn.Module) -> bool:
    """Return whether a parameter or buffer of a model has no shape yet."""
    return any(nn.parameter.is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers()))


@torch.no_grad()
def materialise_lazy_layers(model: nn.Module, batch: Batch) -> None:
    """Make the lazy layers of a model in place, by one forward pass in evaluation mode.

    Statistics do not change, and every module is left in the mode that it was in. Weights are drawn
    from torch's global stream.

    Args:
        model: As built.
        batch: What it is called with; zeros will do.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        batch.call(model)
    finally:
        for module, training in modes:
            module.training = training
