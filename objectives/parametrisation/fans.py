"""Fans: how many numbers each element of a layer's output is summed from, and how many there are.

A parameter's fan-in is the length of the sums that it takes part in, its fan-out the number of
channels that it writes. Which axes count is a matter of the layer: a Linear's weight is
`[out, in]`, a transposed convolution's `[in, out / groups, *kernel]`, an embedding looks one row up
and sums nothing. A bias and a norm's gain are vectors: fan-in 1.

    nn.Linear(20, 50)                weight (20, 50)     bias (1, 50)
    nn.Conv2d(8, 16, 3, groups=8)    weight (9, 16)      depthwise: 3 x 3 numbers a sum

Entry points: `Fans`, `parameter_fans`, `init_fans`.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

_GAINS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_OUTPUT_FIRST = (nn.Linear, _ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)

_WEIGHTS = {"weight", "weight_ih", "weight_hh", "in_proj_weight"}
_WEIGHTS |= {f"{letter}_proj_weight" for letter in "qkv"}
_RECURRENT_WEIGHTS = ("weight_ih_l", "weight_hh_l", "weight_hr_l")


@dataclass(frozen=True)
class Fans:
    """Fan-in and fan-out of one parameter.

    Attributes:
        fan_in: Numbers in a sum.
        fan_out: Channels that are written.
    """

    fan_in: int
    fan_out: int

    def __str__(self) -> str:
        return f"fan-in {self.fan_in}, fan-out {self.fan_out}"


def is_known_layer(module: nn.Module) -> bool:
    """Return whether the layer's own parameters can be distinguished by their names."""
    return isinstance(module, (*_GAINS, *_EMBEDDINGS, *_OUTPUT_FIRST))


def parameter_fans(module: nn.Module, name: str, shape: torch.Size) -> Fans | None:
    """Return the fans of a layer's own parameter, None where layer or name is not known.

    Args:
        module: The layer that holds it.
        name: Its name there, such as "weight_ih_l0".
        shape: Its shape.
    """
    if not is_known_layer(module):
        return None
    if isinstance(module, _GAINS) or "bias" in name:
        return Fans(1, prod(shape))
    if isinstance(module, _EMBEDDINGS):
        return Fans(1, shape[1])
    if not (name in _WEIGHTS or name.startswith(_RECURRENT_WEIGHTS)):
        return None
    if isinstance(module, _ConvTransposeNd):
        return Fans(shape[0] // module.groups * prod(shape[2:]), shape[1] * module.groups)
    return Fans(prod(shape[1:]), shape[0])


def init_fans(module: nn.Module, name: str, shape: torch.Size) -> Fans | None:
    """Return the fans that the initial size of a parameter may depend on.

    They are its own, except for a bias: torch draws it within 1 / sqrt(fan-in of the weight).
    """
    weight = getattr(module, name.replace("bias", "weight"), None)
    if "bias" in name and isinstance(weight, torch.Tensor):
        return parameter_fans(module, name.replace("bias", "weight"), weight.shape)
    return parameter_fans(module, name, shape)
