"""What discovery finds in a small model, in the form in which tests compare it."""

import torch
from torch import nn
from widthwise.objectives.discovery.groups import Discovery
from widthwise.objectives.training.step import TensorSpec

Specs = tuple[TensorSpec, ...]


def spec(*shape: int, dtype: torch.dtype = torch.float32) -> Specs:
    """Return the only input of a model."""
    return (TensorSpec(shape=shape, dtype=dtype),)


TOKENS = spec(7, dtype=torch.int64)


def sizes(discovery: Discovery) -> dict[str, tuple[int, int]]:
    """Return size and divisor of each group by its name."""
    return {group.name: (group.size, group.multiple_of) for group in discovery.groups}


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a model's parameters and buffers really have."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
