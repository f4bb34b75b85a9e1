"""Model families: built-in networks whose layers have the widths of the candidate.

`mlp` flattens its inputs and stacks Linear - norm - activation - dropout; `cnn` takes images and
stacks 3x3 convolutions, halving the side after each while it is 4 or more. Widths count in the
space's declared order, whatever their names. The last layer has one output per class or column.

Entry points: `FAMILIES`, `check_family`, `build_mlp`, `build_cnn`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import nn

from ..errors import ModelError, look_up

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
}

MLP_NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}

MIN_POOLED_SIDE = 4
"""Shortest image side, in pixels, that is still halved."""


def build_mlp(
    widths: Mapping[str, int],
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    activation: str = "relu",
    dropout: float = 0.0,
    norm: str = "none",
) -> nn.Module:
    """Return a multi-layer perceptron with one hidden layer per width."""
    layers: list[nn.Module] = [nn.Flatten()]
    in_features = prod(input_shape)
    for width in widths.values():
        # Batch norm takes the mean away: a bias before it would have no gradient but rounding.
        layers.append(nn.Linear(in_features, width, bias=norm != "batch"))
        if norm != "none":
            layers.append(MLP_NORMS[norm](width))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        in_features = width
    return nn.Sequential(*layers, nn.Linear(in_features, outputs))


def build_cnn(
    widths: Mapping[str, int],
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Return a convolutional network with one 3x3 block per width, for inputs `[c, h, w]`."""
    in_channels, *sides = input_shape
    layers: list[nn.Module] = []
    for width in widths.values():
        layers.append(nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False))
        layers.append(nn.BatchNorm2d(width))
        layers.append(ACTIVATIONS[activation]())
        if min(sides) >= MIN_POOLED_SIDE:
            layers.append(nn.MaxPool2d(2))
            sides = [side // 2 for side in sides]
        in_channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(in_channels, outputs))


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family and its options.

    Attributes:
        name: As written in the spec.
        build: The builder; options are its keyword arguments.
        options: Option name to the words that are allowed, or None for a share in [0, 1).
        requires_images: Whether the inputs must be images `[c, h, w]`.
    """

    name: str
    build: Callable[..., nn.Module]
    options: Mapping[str, tuple[str, ...] | None]
    requires_images: bool


FAMILIES: dict[str, Family] = {
    "mlp": Family(
        name="mlp",
        build=build_mlp,
        options={
            "activation": tuple(ACTIVATIONS),
            "dropout": None,
            "norm": ("none", *MLP_NORMS),
        },
        requires_images=False,
    ),
    "cnn": Family(
        name="cnn",
        build=build_cnn,
        options={"activation": tuple(ACTIVATIONS), "dropout": None},
        requires_images=True,
    ),
}


def check_family(
    name: str, options: Mapping[str, Any], input_shape: tuple[int, ...] | None = None
) -> Family:
    """Return the family, after checking that its options (and inputs, where given) fit it.

    Raises:
        ModelError: No such family or option, a value out of range, or inputs that are no images.
    """
    family = look_up(
        "family",
        name,
        FAMILIES,
        choices=f"{' or '.join(FAMILIES)}, or name a builder: build = FILE.py:f",
        error=ModelError,
    )
    for option, value in options.items():
        choices = look_up(
            "option",
            option,
            family.options,
            context=f" of family '{name}'",
            choices=" or ".join(family.options),
            error=ModelError,
        )
        _check_option(name, option, value, choices)
    if family.requires_images and input_shape is not None and len(input_shape) != 3:
        raise ModelError(
            f"family '{name}' takes images (channels, height, width), the data has samples of "
            f"shape {input_shape}: choose family 'mlp', or data with images."
        )
    return family


def _check_option(family: str, option: str, value: Any, choices: tuple[str, ...] | None) -> None:
    subject = f"option '{option}' of family '{family}' is {value!r}"
    if choices is not None:
        if value not in choices:
            raise ModelError(f"{subject}: choose one of {', '.join(choices)}.")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ModelError(f"{subject}: give a number from 0 up to, but not including, 1.")
