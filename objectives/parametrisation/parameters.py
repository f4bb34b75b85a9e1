"""The layout of a model: every parameter by name, with the fans of the layer that it stands in.

Entry points: `layout`, `Place`.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import ParametrizationList

from .errors import Inapplicable
from .fans import Fans, fans, initialised_by, known


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a parameter stands.

    Attributes:
        shape: Its sizes.
        fans: Its own; None for a parameter of a module that torch does not know.
        source: The fans that its initial size may depend on; None likewise.
        raw: Whether it belongs to a user's own module, where the last axis is taken for channels.
    """

    shape: torch.Size
    fans: Fans | None
    source: Fans | None
    raw: bool


def layout(model: nn.Module) -> dict[str, tuple[Place, ...]]:
    """Return the places of each parameter, several where layers share one.

    Names and order are those of `model.named_parameters()`.

    Raises:
        Inapplicable: A parameter has no shape yet.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    places: dict[str, list[Place]] = {name: [] for name in names.values()}
    for module in model.modules():
        for local, parameter in module._parameters.items():
            if parameter is not None:
                name = names[id(parameter)]
                places[name].append(_place(module, local, name, parameter))
    return {name: tuple(found) for name, found in places.items()}


def _place(module: nn.Module, local: str, name: str, parameter: nn.Parameter) -> Place:
    if isinstance(parameter, UninitializedParameter):
        raise Inapplicable(f"'{name}' is of a lazy layer and has no shape before the first batch")
    return Place(
        shape=parameter.shape,
        fans=fans(module, local, parameter.shape),
        source=initialised_by(module, local, parameter.shape),
        raw=not known(module) and not isinstance(module, ParametrizationList),
    )
