"""The report of the coordinate check: how each layer's activations follow the width.

Entry points: `CoordinateReport`, `LayerGrowth`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

MAX_SLOPE = 0.25
"""Slope from which a layer fails: half-way from right (0) to the least that is wrong (1/2).

Few seeds and narrow models leave a slope of up to 0.1 where 0 is meant.
"""

MODEL_OUTPUT = "the output"
"""Stands for a layer's path where the whole model is meant."""


@dataclass(frozen=True, kw_only=True)
class LayerGrowth:
    """How one layer's output follows the width.

    Attributes:
        layer: Its path in the model, "softmax 1" for what goes into the first one, or
            `MODEL_OUTPUT`.
        start: Slope of its size before the first step; below 0 it shrinks as the width grows.
        change: Slope of its change since then, after each step.
        sizes: Mean |change| after the last step at each width.
    """

    layer: str
    start: float
    change: tuple[float, ...]
    sizes: tuple[float, ...]

    @property
    def max_slope(self) -> float:
        """The steepest of the slopes."""
        return max(self.start, *self.change)

    @property
    def passed(self) -> bool:
        """Whether nothing grows with the width."""
        return self.max_slope < MAX_SLOPE


@dataclass(frozen=True, kw_only=True)
class CoordinateReport:
    """The report of the coordinate check.

    Attributes:
        kind: The parametrisation's name.
        widths: The candidates, narrowest first.
        rows: A layer each, in the order that they run; the model's output last.
    """

    kind: str
    widths: tuple[Mapping[str, int], ...]
    rows: tuple[LayerGrowth, ...]

    @property
    def passed(self) -> bool:
        """Whether no layer's activations grow with the width."""
        return all(row.passed for row in self.rows)

    @property
    def summary(self) -> str:
        """The verdict in a sentence."""
        steepest = max(self.rows, key=lambda row: row.max_slope)
        law = f"width^{steepest.max_slope:.2f} at {_layer_label(steepest.layer)}"
        if self.passed:
            return (
                f"coordinates: no activation grows with the width under '{self.kind}' (the "
                f"steepest goes as {law}, {MAX_SLOPE} would be too steep)."
            )
        return (
            f"coordinates: activations grow with the width under '{self.kind}', as {law} (at most "
            f"{MAX_SLOPE} is right): one learning rate will not do for all widths."
        )

    def table(self) -> str:
        """Return the rows as text, a line each."""
        name_width = max(len("layer"), *(len(row.layer) for row in self.rows))
        lines = [f"{'layer':<{name_width}}  at start  slope of the change after each step"]
        for row in self.rows:
            steps = " ".join(f"{slope:6.2f}" for slope in row.change)
            mark = "" if row.passed else "  grows"
            lines.append(f"{row.layer:<{name_width}}  {row.start:8.2f}  {steps}{mark}")
        return "\n".join(lines)


def _layer_label(layer: str) -> str:
    return (
        layer if layer == MODEL_OUTPUT or layer.startswith("softmax ") else f"the layer '{layer}'"
    )
