"""Purity: whether a step's effects are all in the operators that it calls, so it can be repeated.

A step is not pure when it changes state outside tensors, or reads values out of tensors.

Entry points: `hidden_state`, `reads_values`.
"""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..interrupt import raise_if_interrupt
from ..model.objective import Objective
from ..trace.trace import silence_fake_tensor_warnings


def hidden_state(model: nn.Module) -> list[Any]:
    """Return the state outside torch's operators; a step that changes it cannot be repeated.

    That is the random streams of Python and numpy, and the attributes of modules besides parameters
    and buffers, such as a count of their calls.
    """
    numpy_state: Any = np.random.get_state(legacy=False)
    numpy_fingerprint = (
        numpy_state["state"]["key"].tobytes(),
        numpy_state["state"]["pos"],
        numpy_state["gauss"],
    )
    streams = (random.getstate(), numpy_fingerprint)
    return [streams, *(_fingerprint(vars(module)) for module in model.modules())]


def _fingerprint(value: Any) -> Any:
    """Return a value that changes when an attribute does."""
    if isinstance(value, dict):
        return {name: _fingerprint(element) for name, element in value.items()}
    if isinstance(value, list | tuple | set):
        return [_fingerprint(element) for element in value]
    if isinstance(value, int | float | str | None):
        return value
    return id(value)


def reads_values(model: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor) -> bool:
    """Return whether a forward pass reads values out of tensors, which it may branch on.

    Tried with fake tensors, which have no values; weights and statistics are not changed.
    """
    with (
        silence_fake_tensor_warnings(),
        FakeTensorMode(allow_non_fake_inputs=True) as mode,
        torch.enable_grad(),
    ):
        try:
            objective.loss(model(mode.from_tensor(inputs)), mode.from_tensor(targets))
        except BaseException as error:
            raise_if_interrupt(error)
            # An operator without a shape rule counts as reading, too: nothing is known of it.
            return True
    return False
