"""The model families by name: what each may be given, and how it is made.

A new family is one entry here and its builder in `families/`; the spec's `family`, the options of
the command line, the widths that a search of a data file tries and the rule-of-thumb baseline
follow. This module does not import torch, and a builder's module only when it is asked for.

Entry points: `FAMILIES`, `Family`, `check_family`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, look_up
from .families.width_names import DEPTH, WidthNames

if TYPE_CHECKING:
    from torch import nn

ACTIVATION_NAMES = ("relu", "gelu", "tanh", "silu", "elu", "leaky_relu", "sigmoid")
MLP_NORM_NAMES = ("batch", "layer")


def pyramid(features: int, outputs: int, layers: int) -> list[float]:
    """Return hidden widths that shrink geometrically from the inputs to the outputs.

    w_i = n (m/n)^(i/(k+1)) for i = 1 … k, with n inputs, m outputs and k hidden layers.
    Source: Masters, Practical Neural Network Recipes in C++ (1993), the geometric pyramid rule.
    Example: 64 inputs, 10 outputs and one hidden layer give √(64 × 10) ≈ 25.3.
    """
    ratio = outputs / features
    return [features * ratio ** (layer / (layers + 1)) for layer in range(1, layers + 1)]


def doubling(first: float, layers: int) -> list[float]:
    """Return channels that double from block to block.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks (2015), table 1.
    """
    return [first * 2.0**layer for layer in range(layers)]


def _pyramid_rule(lows: Sequence[int], features: int, outputs: int) -> list[float]:
    return pyramid(features, outputs, len(lows))


def _doubling_rule(lows: Sequence[int], features: int, outputs: int) -> list[float]:
    del features, outputs
    return doubling(lows[0] * 2.0, len(lows))


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family and its options.

    Attributes:
        name: As written in the spec.
        load_builder: Returns the builder; options are its keyword arguments.
        options: Option name to the words that are allowed, or None for a share in [0, 1).
        requires_images: Whether the inputs must be images `[c, h, w]`.
        default_widths: The section `[widths]` of a search that names a data file and no spec.
        rule_of_thumb: `(smallest width of each layer, features, outputs) -> width of each layer`;
            None where there is none.
        reads_sequences: Whether the inputs must be sequences, `[steps]` or `[steps, features]`: its
            builder is told how many token ids there are, and whether each step has a class.
        width_names: Which widths it takes; None where any name is a layer's.
        divisible: Pairs of widths of which the first has to be divisible by the second.
        structural: Widths that say what the model is made of, and not how wide it is.
    """

    name: str
    load_builder: Callable[[], Callable[..., nn.Module]]
    options: Mapping[str, tuple[str, ...] | None]
    requires_images: bool
    default_widths: Mapping[str, Any]
    rule_of_thumb: Callable[[Sequence[int], int, int], list[float]] | None
    reads_sequences: bool = False
    width_names: WidthNames | None = None
    divisible: tuple[tuple[str, str], ...] = ()
    structural: tuple[str, ...] = ()

    @property
    def has_alike_layers(self) -> bool:
        """Whether layers are a chain, all built alike: any may be absent (width 0).

        Which of two equal ones is missing is then all the same.
        """
        return self.width_names is None or self.width_names.layers_alike

    def build(self, widths: Mapping[str, int], **options: Any) -> nn.Module:
        """Return a fresh model; `options` are the builder's other arguments."""
        return self.load_builder()(widths, **options)


def _mlp_builder() -> Callable[..., nn.Module]:
    from .families.feedforward import build_mlp

    return build_mlp


def _cnn_builder() -> Callable[..., nn.Module]:
    from .families.feedforward import build_cnn

    return build_cnn


def _resnet_builder() -> Callable[..., nn.Module]:
    from .families.resnet import build_resnet

    return build_resnet


def _transformer_builder() -> Callable[..., nn.Module]:
    from .families.transformer import build_transformer

    return build_transformer


def _lstm_builder() -> Callable[..., nn.Module]:
    from .families.recurrent import build_lstm

    return build_lstm


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="mlp",
            load_builder=_mlp_builder,
            options={
                "activation": ACTIVATION_NAMES,
                "dropout": None,
                "norm": ("none", *MLP_NORM_NAMES),
            },
            requires_images=False,
            # Two hidden layers are the usual choice for tabular data.
            default_widths={
                "hidden1": {"low": 8, "high": 512, "step": 8},
                "hidden2": {"low": 8, "high": 512, "step": 8},
                "order": "non-increasing",
            },
            rule_of_thumb=_pyramid_rule,
        ),
        Family(
            name="cnn",
            load_builder=_cnn_builder,
            options={"activation": ACTIVATION_NAMES, "dropout": None},
            requires_images=True,
            default_widths={
                "channels1": {"low": 4, "high": 64, "step": 4},
                "channels2": {"low": 4, "high": 128, "step": 4},
                "order": "non-decreasing",
            },
            rule_of_thumb=_doubling_rule,
        ),
        Family(
            name="resnet",
            load_builder=_resnet_builder,
            options={"activation": ACTIVATION_NAMES, "dropout": None},
            requires_images=True,
            default_widths={
                "channels1": {"low": 4, "high": 64, "step": 4},
                "channels2": {"low": 4, "high": 128, "step": 4},
                "order": "non-decreasing",
            },
            rule_of_thumb=None,
            width_names=WidthNames(
                required=("channels",), optional=(DEPTH,), layer="channels", layers_alike=False
            ),
            structural=(DEPTH,),
        ),
        Family(
            name="transformer",
            load_builder=_transformer_builder,
            options={
                "activation": ACTIVATION_NAMES,
                "dropout": None,
                "attention": ("causal", "full"),
            },
            requires_images=False,
            default_widths={
                "d_model": {"low": 16, "high": 128, "step": 16},
                "d_ff": {"low": 16, "high": 512, "step": 16},
            },
            rule_of_thumb=None,
            reads_sequences=True,
            width_names=WidthNames(required=("d_model",), optional=("heads", DEPTH), layer="d_ff"),
            divisible=(("d_model", "heads"),),
            structural=(DEPTH,),
        ),
        Family(
            name="lstm",
            load_builder=_lstm_builder,
            options={"dropout": None},
            requires_images=False,
            default_widths={"hidden": {"low": 8, "high": 128, "step": 8}},
            rule_of_thumb=None,
            reads_sequences=True,
            width_names=WidthNames(required=("hidden",), optional=(DEPTH,), layer="hidden"),
            structural=(DEPTH,),
        ),
    )
}
"""All families, by name."""


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
    if family.reads_sequences and input_shape is not None and len(input_shape) not in (1, 2):
        raise ModelError(
            f"family '{name}' takes sequences (steps, or steps and features), the data has samples "
            f"of shape {input_shape}: choose family 'cnn', or data with sequences."
        )
    return family


def _check_option(family: str, option: str, value: Any, choices: tuple[str, ...] | None) -> None:
    subject = f"option '{option}' of family '{family}' is {value!r}"
    if choices is not None:
        if value not in choices:
            raise ModelError(f"{subject}: choose one of {', '.join(choices)}.")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ModelError(f"{subject}: give a number from 0 up to, but not including, 1.")
