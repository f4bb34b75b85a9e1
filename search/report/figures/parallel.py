"""Parallel coordinates: the widths of the trials side by side, coloured by the metric."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from ...printable import shortened
from ...space.neighbourhood import Candidates
from ...space.space import Space
from ...space.width import ABSENT
from .selection import spread_selection
from .style.canvas import FONT_SIZE, WIDTH, Drawing, new_axes, render, style_context
from .style.legend import Legend
from .style.palette import GRID, INK, RECOMMENDED, SCALE
from .view import StudyView

MAX_LINES = 300
"""Trials that are drawn: the best, and others spread over all ranks."""
ABSENT_HEIGHT = -0.15
"""Where an absent layer stands on its axis, whose least width is at 0."""
_MAX_LETTERS = 14


def draw_parallel(study: StudyView, *, name: str = "parallel") -> Drawing | None:
    """Draw each trial as a line over the widths, darker the better it is.

    Returns:
        The drawing; None where no trial is complete, or there is one width only.
    """
    widths = study.evidence.space.widths
    if not study.trials or len(widths) < 2:
        return None
    chosen = spread_selection(len(study.trials), MAX_LINES)
    indices = study.order[chosen][::-1]  # the best are drawn last
    space = study.evidence.space
    rows = np.stack([space.as_row(study.trials[index].widths) for index in indices])
    heights = _heights(space, rows)
    ranks = np.empty(len(study.trials))
    ranks[study.order] = np.arange(len(study.trials))
    shade = len(SCALE) - 1 - (ranks[indices] * len(SCALE) // len(study.trials)).astype(int)
    with style_context():
        figure, axes = new_axes(width=max(WIDTH, 0.95 * len(widths)))
        legend = Legend()
        columns = np.arange(len(widths))
        axes.grid(visible=False)
        axes.set_xlim(-0.35, len(widths) - 0.65)
        axes.set_ylim(float(min(-0.08, heights.min() - 0.08)), 1.08)
        axes.set_yticks([])
        axes.set_xticks(columns, [shortened(width.name, _MAX_LETTERS) for width in widths])
        for spine in axes.spines.values():
            spine.set_visible(False)
        recommended = study.recommended
        for column, width in zip(columns, widths, strict=True):
            axes.axvline(float(column), color=GRID.light, linewidth=1.2)
            for edge, height, align in ((width.low, 0.0, "top"), (width.high, 1.0, "bottom")):
                if recommended is not None and recommended.widths[width.name] == edge:
                    continue  # it is written there, larger
                axes.annotate(
                    f"{edge:,}",
                    (column, height),
                    xytext=(0, -3 if align == "top" else 3),
                    textcoords="offset points",
                    ha="center",
                    va=align,
                    fontsize=FONT_SIZE - 1.5,
                )
        for level, colour in enumerate(SCALE):
            lines = [np.column_stack([columns, row]) for row in heights[shade == level]]
            if lines:
                axes.add_collection(
                    LineCollection(lines, colors=colour.light, linewidths=0.9, alpha=0.75)
                )
        legend.line("best seventh of the trials", SCALE[-1])
        legend.line("worst seventh", SCALE[0])
        if recommended is not None:
            place = _heights(space, space.as_row(recommended.widths)[None, :])[0]
            axes.plot(
                columns, place, color=RECOMMENDED.light, linewidth=2.6, zorder=5,
                **{key: value for key, value in legend.style(RECOMMENDED, "o", 6.0).items()
                   if key != "zorder"},
            )  # fmt: skip
            legend.line("recommended", RECOMMENDED, width=2.6)
            for column, name_, height in zip(columns, space.names, place, strict=True):
                axes.annotate(
                    f"{recommended.widths[name_]:,}",
                    (column, float(height)),
                    xytext=(5, 4),
                    textcoords="offset points",
                    fontsize=FONT_SIZE - 0.5,
                    fontweight="bold",
                    color=INK.light,
                    zorder=6,
                )
        legend.draw(figure)
        return render(
            figure,
            name=name,
            alt=f"Widths of {len(indices)} of {len(study.trials)} trials side by side, darker the "
            f"better their {study.metric} is; the recommended widths are strong.",
        )


def _heights(space: Space, rows: Candidates) -> NDArray[np.float64]:
    """Return where the widths of candidates stand on their axes, [n, d]; absent layers below."""
    positions = space.encode(rows)[:, : space.dimensions]
    return np.where(rows == ABSENT, ABSENT_HEIGHT, positions)
