"""The legend: what the marks and lines of a figure are, below it, in the order they are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ....printable import shortened
from .canvas import FONT_SIZE
from .palette import INK, SURFACE, Colour

_MAX_LETTERS = 34
"""Letters of a label; a longer one is cut: names of studies and widths are users' own."""

_MAX_LINE_LETTERS = 78
"""Letters of a line of the legend, over all its columns."""

_MARK_LETTERS = 7
"""Letters that the mark of an entry and the space between two columns are as wide as."""


@dataclass
class Legend:
    """Collects the entries of one figure; an entry of the same name is written once."""

    entries: dict[str, Any] = field(default_factory=dict)

    def dot(self, label: str, colour: Colour) -> None:
        """Add a small round dot."""
        self.entries[label] = Line2D(
            [], [], marker="o", markersize=4, linestyle="", color=colour.light
        )

    def line(self, label: str, colour: Colour, *, dashed: bool = False, width: float = 1.4) -> None:
        """Add a line."""
        self.entries[label] = Line2D(
            [], [], color=colour.light, linewidth=width, linestyle=(0, (4, 3)) if dashed else "-"
        )

    def band(self, label: str, colour: Colour) -> None:
        """Add a filled band."""
        self.entries[label] = Patch(facecolor=colour.light, alpha=0.25, linewidth=0)

    def bar(self, label: str, colour: Colour, hatch: str) -> None:
        """Add a bar."""
        self.entries[label] = Patch(
            facecolor=colour.light, hatch=hatch, edgecolor=SURFACE.light, linewidth=0, alpha=0.9
        )

    def mark(self, label: str, colour: Colour, marker: str, *, hollow: bool = False) -> None:
        """Add a mark of a given shape."""
        size = 10.0 if marker == "*" else 6.0
        self.entries[label] = Line2D(
            [], [], linestyle="", **self.style(colour, marker, size, hollow=hollow)
        )

    def style(
        self, colour: Colour, marker: str, size: float, *, hollow: bool = False
    ) -> dict[str, Any]:
        """Return how a mark is drawn: filled with a rim of the background, or hollow."""
        return {
            "marker": marker,
            "markersize": size,
            "markerfacecolor": "none" if hollow else colour.light,
            "markeredgecolor": colour.light if hollow else SURFACE.light,
            "markeredgewidth": 1.6 if hollow else 0.8,
            "zorder": 5,
        }

    def draw(self, figure: Figure, *, columns: int = 3) -> None:
        """Write the entries below the figure, in fewer columns where labels are long."""
        if not self.entries:
            return
        labels = [shortened(label, _MAX_LETTERS) for label in self.entries]
        while columns > 1 and _letters_of_a_line(labels, columns) > _MAX_LINE_LETTERS:
            columns -= 1
        figure.legend(
            list(self.entries.values()),
            labels,
            loc="outside lower left",
            ncols=min(columns, len(labels)),
            frameon=False,
            fontsize=FONT_SIZE - 1.5,
            labelcolor=INK.light,
            handlelength=1.6,
            columnspacing=1.0,
            handletextpad=0.5,
            borderpad=0.1,
        )


def _letters_of_a_line(labels: Sequence[str], columns: int) -> int:
    """Return the letters of the longest labels of all columns, which are filled one by one."""
    rows = math.ceil(len(labels) / columns)
    parts = [labels[start : start + rows] for start in range(0, len(labels), rows)]
    return sum(max(map(len, part)) + _MARK_LETTERS for part in parts)
