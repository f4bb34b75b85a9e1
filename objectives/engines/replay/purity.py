"""What would make a recorded step a lie: state and values that pass by torch's operators.

Entry points: `hidden_state`, `reads_values`.
"""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ...model.objective import Objective
from ...trace.trace import silence_fake_tensor_warnings


def hidden_state(model: nn.Module) -> list[Any]:
    """Return what no operator tells of; a step that changes it cannot be repeated.

    That is Python's and numpy's random streams, and what modules keep besides parameters and
    buffers, such as a count of their calls.
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
    """Return what tells whether an attribute is another than before."""
    if isinstance(value, dict):
        return {name: _fingerprint(element) for name, element in value.items()}
    if isinstance(value, list | tuple | set):
        return [_fingerprint(element) for element in value]
    if isinstance(value, int | float | str | None):
        return value
    return id(value)


def reads_values(model: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor) -> bool:
    """Say whether a forward pass reads numbers out of tensors, on which its course may depend.

    Tried with tensors that have sizes and no numbers; weights and statistics stay as they are.
    """
    with (
        silence_fake_tensor_warnings(),
        FakeTensorMode(allow_non_fake_inputs=True) as mode,
        torch.enable_grad(),
    ):
        try:
            objective.loss(model(mode.from_tensor(inputs)), mode.from_tensor(targets))
        except Exception:
            # An operator without a shape rule is refused, too: nothing is known of it.
            return True
    return False
