"""muP where layers may be absent: one derivation for each choice of layers that are there.

A candidate without a layer (width 0) has fewer parameters, and others of them stand next to the
inputs or the outputs. So muP is derived anew for each layout, from the same base without those
layers: within a layout one rate is right for all widths, and at the base of each nothing changes.

Entry points: `LayoutMup`, `absent_widths`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import nn

from ..errors import ModelError
from .mup import Mup
from .standard import ParametrisationName


@final
@dataclass(frozen=True, kw_only=True)
class LayoutMup:
    """muP by layout.

    Attributes:
        by_absent: The names of the absent widths to the layout's own derivation.
    """

    by_absent: Mapping[frozenset[str], Mup]

    @property
    def name(self) -> ParametrisationName:
        """Its name in a spec."""
        return "mup"

    def initialise(self, model: nn.Module, widths: Mapping[str, int]) -> None:
        """Rescale a freshly built model's parameters in place; draws no random number.

        Raises:
            ModelError: It has other parameters than the base of its layout, or a layout that the
                space does not have.
        """
        self._layout(widths).initialise(model, widths)

    def learning_rate_factors(self, widths: Mapping[str, int]) -> dict[str, float]:
        """Return the factor on Adam's learning rate of each parameter, by name.

        Raises:
            ModelError: As `initialise`.
        """
        return self._layout(widths).learning_rate_factors(widths)

    def describe(self) -> str:
        """Return a sentence for people."""
        fullest = self.by_absent[min(self.by_absent, key=len)]
        return (
            f"{fullest.describe().removesuffix('.')}, and likewise for each of the "
            f"{len(self.by_absent)} choices of layers that are there."
        )

    def _layout(self, widths: Mapping[str, int]) -> Mup:
        absent = absent_widths(widths)
        if absent not in self.by_absent:
            raise ModelError(
                f"the widths {dict(widths)} lack {', '.join(sorted(absent)) or 'no layer'}, which "
                "no candidate of the space does: train a candidate of the space."
            )
        return self.by_absent[absent]


def absent_widths(widths: Mapping[str, int]) -> frozenset[str]:
    """Return the names of the widths that are 0."""
    return frozenset(name for name, width in widths.items() if width == 0)
