"""The widths of the families whose widths have names of their own.

A layer's width stands once for all layers (`hidden`, with `depth` for their number), or for each by
its number (`hidden1`, `hidden2`, …). This module does not import torch.

Entry points: `WidthNames`, `layer_widths`; `check_layers_only` for the families without such names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import ModelError, did_you_mean

DEPTH = "depth"
"""How many layers, blocks, or blocks of a stage there are."""

DEFAULT_DEPTH = 2
"""Blocks of a Transformer where nothing says how many."""


@dataclass(frozen=True, kw_only=True)
class WidthNames:
    """Which widths a family takes.

    Attributes:
        required: The names that have to be there; one of `layer` and its numbered ones counts.
        optional: Further names that may be there.
        layer: The name that stands once for all layers or, with a number, for each; None where
            there is none.
        layers_alike: Whether numbered layers are a chain in which all are built alike: each may be
            absent, and their number is the depth. Else the depth may stand beside them.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    layer: str | None = None
    layers_alike: bool = True

    def check(self, family: str, names: Sequence[str], absent: Sequence[str]) -> None:
        """Check the widths of a spec.

        Args:
            family: Its name, for the sentence.
            names: The widths.
            absent: Those of them that may be 0.

        Raises:
            ModelError: One is unknown or missing, two contradict, or one cannot be absent.
        """
        layers = [name for name in names if self._is_numbered(name)]
        plain = [name for name in names if name not in layers]
        subject = f"family '{family}'"
        layer = [] if self.layer is None else [self.layer]
        known = list(dict.fromkeys([*self.required, *layer, *self.optional]))
        for name in plain:
            if name not in known:
                each = f", or {self.layer}1, {self.layer}2, … of each layer" if self.layer else ""
                raise ModelError(
                    f"{subject} has no width '{name}': it takes {', '.join(known)}{each}. "
                    f"{did_you_mean(name, known)}".rstrip()
                )
        for name in self.required:
            if name not in names and not (name == self.layer and layers):
                raise ModelError(f"{subject} needs the width '{name}': add it to [widths].")
        self._check_layers(subject, plain, layers)
        for name in absent:
            if name not in layers or not self.layers_alike:
                hint = f", and give it to {self.layer}1, {self.layer}2, …"
                raise ModelError(
                    f"{subject} cannot be without '{name}': take optional = true from it"
                    f"{hint if self.layers_alike else ', and search depth'}."
                )

    def _check_layers(self, subject: str, plain: Sequence[str], layers: Sequence[str]) -> None:
        if not layers:
            return
        excluded = (self.layer, DEPTH) if self.layers_alike else (self.layer,)
        beside = [name for name in excluded if name in plain]
        if beside:
            raise ModelError(
                f"{subject} has {layers[0]} and {beside[0]}, found both: give {self.layer} and "
                f"{DEPTH} for layers that are all alike, or {self.layer}1, {self.layer}2, … with "
                "optional = true where their number is searched."
            )
        expected = [f"{self.layer}{number}" for number in range(1, len(layers) + 1)]
        if list(layers) != expected:
            raise ModelError(
                f"{subject} numbers its layers from 1 in their order, found {', '.join(layers)}: "
                f"name them {', '.join(expected)}."
            )

    def _is_numbered(self, name: str) -> bool:
        return self.layer is not None and re.fullmatch(f"{self.layer}[0-9]+", name) is not None


def layer_widths(widths: Mapping[str, int], layer: str) -> list[int] | None:
    """Return the widths of the layers that are there; None where they are not given one by one."""
    numbered = [
        width for name, width in widths.items() if re.fullmatch(f"{layer}[0-9]+", name) is not None
    ]
    return [width for width in numbered if width] if numbered else None


def check_layers_only(family: str, names: Sequence[str]) -> None:
    """Check the widths of a family in which each is a layer, whatever its name.

    Raises:
        ModelError: One is named as the number of layers, and would be one of them.
    """
    if DEPTH in names:
        raise ModelError(
            f"family '{family}' has no width '{DEPTH}': each width is a layer of its own; where "
            "their number is searched, name them one by one and give optional = true to those "
            "that may be absent."
        )
