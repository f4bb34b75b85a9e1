"""The parameters of a model, by name, each with the fans of the layer that it stands in.

Entry points: `parameter_infos`, `ParameterInfo`.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import ParametrizationList

from .errors import MupInapplicable
from .fans import Fans, init_fans, is_known_layer, parameter_fans


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """A parameter as one layer holds it.

    Attributes:
        shape: Its sizes.
        fans: Its own; None for a parameter of a module that torch does not know.
        init_fans: The fans that its initial size may depend on; None likewise.
        is_user_defined: Whether it belongs to a user's own module, where the last axis is taken for
            channels.
    """

    shape: torch.Size
    fans: Fans | None
    init_fans: Fans | None
    is_user_defined: bool


def parameter_infos(model: nn.Module) -> dict[str, tuple[ParameterInfo, ...]]:
    """Return each parameter's facts, once for each layer that holds it.

    Names and order are those of `model.named_parameters()`.

    Raises:
        MupInapplicable: A parameter has no shape yet.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    infos: dict[str, list[ParameterInfo]] = {name: [] for name in names.values()}
    for module in model.modules():
        for local_name, parameter in module._parameters.items():
            if parameter is not None:
                name = names[id(parameter)]
                infos[name].append(_parameter_info(module, local_name, name, parameter))
    return {name: tuple(occurrences) for name, occurrences in infos.items()}


def _parameter_info(
    module: nn.Module, local_name: str, name: str, parameter: nn.Parameter
) -> ParameterInfo:
    if isinstance(parameter, UninitializedParameter):
        raise MupInapplicable(
            f"'{name}' is of a lazy layer and has no shape before the first batch"
        )
    return ParameterInfo(
        shape=parameter.shape,
        fans=parameter_fans(module, local_name, parameter.shape),
        init_fans=init_fans(module, local_name, parameter.shape),
        is_user_defined=not is_known_layer(module) and not isinstance(module, ParametrizationList),
    )
