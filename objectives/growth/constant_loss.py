"""The loss of the best constant output: what a model has to beat that has learnt anything.

The constant is found by the loss itself (L-BFGS over one sample's output), so that it is right for
a loss of the user's own, too: for squared errors it is the mean, for cross-entropy the logarithm of
the classes' shares. Entry point: `best_constant`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .gradients import LossOfOutput

_ITERATIONS = 50


def best_constant(output: Tensor, targets: Tensor, loss: LossOfOutput) -> Tensor | None:
    """Return the output of one sample that has the least loss if all rows get it.

    Args:
        output: Of a model for some rows; its shape and type count.
        targets: Of the rows to fit.
        loss: The mean over rows.

    Returns:
        A tensor of the shape of one sample's output; None where the loss gives no number for it.
    """
    constant = torch.zeros_like(output[0]).requires_grad_()
    optimizer = torch.optim.LBFGS([constant], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(constant.expand(len(targets), *constant.shape), targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    try:
        with torch.enable_grad():
            optimizer.step(closure)  # type: ignore[no-untyped-call]
    except RuntimeError:  # what torch raises where the loss is no number
        return None
    with torch.no_grad():
        least = loss(constant.expand(len(targets), *constant.shape), targets)
    finite = bool(constant.isfinite().all()) and bool(least.isfinite())
    return constant.detach() if finite else None
