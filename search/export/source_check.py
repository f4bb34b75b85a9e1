"""Whether an exported `model.py` builds the network that it is for.

Entry point: `build_failure`.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import nn

from ...objectives.errors import describe_error
from ...objectives.interrupt import raise_if_interrupt
from ...objectives.model.lazy import has_lazy_layers
from ...objectives.randomness import Randomness

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor of a `state_dict` to its shape."""


def tensor_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's parameters and buffers, as its `state_dict` names them."""
    return {
        name: tuple(value.shape)
        for name, value in network.state_dict().items()
        if isinstance(value, torch.Tensor)
    }


def build_failure(file: Path, expected: Shapes) -> str | None:
    """Return why a `model.py` does not build a network; None where it does.

    It runs as in a program of its own: what it adds to this one's modules and paths is taken away.

    Args:
        file: The `model.py`.
        expected: Shapes of the network's tensors.
    """
    paths, modules = list(sys.path), set(sys.modules)
    try:
        with Randomness(0, torch.device("cpu")), redirect_stdout(sys.stderr):
            network = runpy.run_path(str(file))["build"]()
    except BaseException as error:  # whatever the user's code raises
        raise_if_interrupt(error)
        return f"it raises {describe_error(error)}"
    finally:
        sys.path[:] = paths
        for name in set(sys.modules) - modules:
            if name.startswith("widthwise_exported_"):
                del sys.modules[name]
    if has_lazy_layers(network):
        return None  # its shapes come with the first samples, or with the weights
    shapes = tensor_shapes(network)
    if shapes == expected:
        return None
    names = sorted(
        name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name)
    )
    name = names[0]
    return f"its {name} is {shapes.get(name)}, that of the network {expected.get(name)}"
