"""muP where layers may be absent: one derivation for each choice of layers that are there.

A candidate without a layer (width 0), or of another depth, has other parameters, and others of them
stand next to the inputs or the outputs. So muP is derived anew for each layout, from the same base
with those layers: within a layout one rate is right for all widths, and at the base of each nothing
changes. Where no width of a layout varies, all its factors are 1.

Entry points: `LayoutMup`, `layout_of`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from torch import nn

from ..errors import ModelError
from .mup import Mup
from .standard import ParametrisationName

Layout = frozenset[tuple[str, int]]
"""The widths that say which layers there are, with their values."""


@final
@dataclass(frozen=True, kw_only=True)
class LayoutMup:
    """muP by layout.

    Attributes:
        by_layout: The layout's own derivation.
        structural: Names of widths that say how many layers there are.
    """

    by_layout: Mapping[Layout, Mup]
    structural: tuple[str, ...] = ()

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
        fullest = max(self.by_layout.values(), key=lambda mup: len(mup.rules))
        return (
            f"{fullest.describe().removesuffix('.')}, and likewise for each of the "
            f"{len(self.by_layout)} choices of layers that are there."
        )

    def _layout(self, widths: Mapping[str, int]) -> Mup:
        layout = layout_of(widths, self.structural)
        if layout not in self.by_layout:
            raise ModelError(
                f"no candidate of the space has the layers of {dict(widths)}: train a candidate of "
                "the space."
            )
        return self.by_layout[layout]


def layout_of(widths: Mapping[str, int], structural: Sequence[str] = ()) -> Layout:
    """Return which layers there are: the widths that are 0, and those that say how many."""
    return frozenset(
        (name, width) for name, width in widths.items() if width == 0 or name in structural
    )
