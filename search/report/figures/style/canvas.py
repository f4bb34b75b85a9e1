"""The canvas: axes in the report's style, and what they become, an SVG in two themes and a PNG.

    figure, axes = new_axes()
    axes.plot(...)
    drawing = render(figure, name="history", alt="…")

Figures are as wide as a phone, so that letters are read there and two stand side by side elsewhere.
The same figure gives the same bytes: ids come from the figure's name, no time is written down.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from .....objectives.cost.registry import Unit
from ....printable import escape_controls
from ....units import COST_BY_NAME, format_cost
from .palette import COLOURS, GRID, INK, MUTED, SURFACE, TRIAL, Colour

WIDTH, HEIGHT = 5.2, 3.25
"""Inches of a figure; an SVG has 72 units an inch."""
PNG_DPI = 200
"""Dots per inch of a PNG: 1,040 pixels wide."""
FONT_SIZE = 10.0
"""Points; on a phone of 390 pixels the letters are as large."""
SYSTEM_FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif"
"""What letters of an SVG are shown in; they are measured in DejaVu Sans, which is wider."""

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "text.parse_math": False,  # a name may hold dollar signs
    "text.usetex": False,
    "text.color": INK.light,
    "axes.labelcolor": MUTED.light,
    "axes.labelsize": FONT_SIZE,
    "axes.edgecolor": GRID.light,
    "axes.facecolor": SURFACE.light,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "axes.prop_cycle": cycler(color=[TRIAL.light]),
    "grid.color": GRID.light,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
    "figure.facecolor": SURFACE.light,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": SURFACE.light,
    "svg.fonttype": "none",  # letters stay letters: small, searchable, read aloud
    "path.simplify": True,
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure as it is written.

    Attributes:
        name: Of its file, without the ending.
        alt: What it shows, for who does not see it.
        svg: An `<svg>` element whose colours are CSS variables.
        png: A picture in the light theme.
        least_width: CSS pixels below which it is scrolled and not shrunk; 0 for a usual figure.
    """

    name: str
    alt: str
    svg: str
    png: bytes
    least_width: int = 0


def new_axes(*, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes in the report's style.

    Args:
        width: Inches.
        height: Inches.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        return figure, figure.add_subplot()


def style_context() -> Any:
    """Return the context in which artists take the report's style."""
    return mpl.rc_context(_STYLE)


def dots(
    axes: Axes, x: ArrayLike, y: ArrayLike, colour: Colour, *, size: float = 4.0, alpha: float = 0.8
) -> None:
    """Draw any number of round dots as a single path; those in one place are drawn once.

    Ten thousand elements would make a page that scrolls badly; one path does not.

    Args:
        axes: Where; its limits and scales must be set already.
        x: Positions, [n].
        y: Positions, [n].
        colour: Of all of them.
        size: Diameter in points.
        alpha: Opacity.
    """
    points = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return
    places = np.round(axes.transData.transform(points)).astype(np.int64)
    _, first = np.unique(places, axis=0, return_index=True)
    points = points[np.sort(first)]
    # A line of next to no length with a round cap is a dot.
    ends = axes.transData.inverted().transform(np.add(axes.transData.transform(points), (0.02, 0)))
    vertices = np.stack([points, ends], axis=1).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(points))
    path = Path(vertices, codes)
    path.should_simplify = False
    patch = PathPatch(
        path,
        facecolor="none",
        edgecolor=colour.light,
        linewidth=size,
        capstyle="round",
        alpha=alpha,
    )
    patch.set_snap(False)  # or both ends fall onto one pixel, and nothing is drawn
    axes.add_patch(patch)


def set_span(
    axes: Axes, which: str, values: Sequence[float], *, log: bool = False, margin: float = 0.06
) -> None:
    """Set an axis from the least to the greatest of some values, with a margin on either side.

    Args:
        axes: Whose.
        which: "x" or "y".
        values: What must be seen; those that are not finite are left out.
        log: Whether the axis is logarithmic: then only positive values count.
        margin: Share of the span.
    """
    array = np.asarray([value for value in values if np.isfinite(value)], dtype=float)
    if log:
        array = array[array > 0]
    if not len(array):
        return
    axis_values = np.log(array) if log else array
    low, high = float(axis_values.min()), float(axis_values.max())
    slack = (high - low) * margin or (0.1 if log else max(abs(high) * 0.05, 1e-9))
    low, high = low - slack, high + slack
    if log:
        low, high = float(np.exp(low)), float(np.exp(high))
    if which == "x":
        axes.set_xscale("log" if log else "linear")
        axes.set_xlim(low, high)
    else:
        axes.set_yscale("log" if log else "linear")
        axes.set_ylim(low, high)
    if log:
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_ticks(_nice_ticks(low, high))
        axis.set_ticks([], minor=True)
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def title_height(axes: Axes, title: str) -> None:
    """Write what the vertical axis shows above it, where it is read without turning the head."""
    axes.set_title(escape_controls(title), loc="left", fontsize=FONT_SIZE, color=MUTED.light, pad=7)


def show_costs(axes: Axes, which: str, cost: str) -> None:
    """Write an axis's ticks as amounts of a cost, a handful of them."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    if axis.get_scale() == "linear":
        if COST_BY_NAME[cost].unit is Unit.BYTES:
            step = 2.0 ** np.ceil(np.log2((high - low) / 5))
            ticks = step * np.arange(np.ceil(low / step), high / step + 1)
        else:
            ticks = np.asarray(MaxNLocator(nbins=5).tick_values(low, high))
        axis.set_ticks(ticks[(ticks >= low) & (ticks <= high)].tolist())
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: format_cost(cost, value) if value >= 0 else "")
    )


def _nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most so many 1, 2 or 5 times powers of ten between two positive numbers."""
    exponents = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [
            factor * 10.0**exponent
            for exponent in exponents
            for factor in factors
            if low <= factor * 10.0**exponent <= high
        ]
        if len(ticks) <= most:
            break
    if len(ticks) >= 2:
        return ticks
    middle = [float(value) for value in np.geomspace(low, high, 5)[1:4]]
    return [float(f"{value:.2g}") for value in middle]


def render(figure: Figure, *, name: str, alt: str) -> Drawing:
    """Return a finished figure as SVG and PNG.

    Args:
        figure: Made by `new_axes`.
        name: Letters, digits and hyphens; every figure of a report has another one.
        alt: What it shows.
    """
    svg, png = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings(), mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        # A name in letters that DejaVu Sans lacks: a browser has them, a PNG shows boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(svg, format="svg", metadata=empty)
        figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
    width = figure.get_figwidth()
    return Drawing(
        name=name,
        alt=alt,
        svg=themed_svg(svg.getvalue().decode(), alt),
        png=png.getvalue(),
        least_width=round(72 * width) if width > WIDTH else 0,
    )


def themed_svg(document: str, alt: str) -> str:
    """Return Matplotlib's SVG as an element of a page, its colours as CSS variables.

    Args:
        document: The file as Matplotlib writes it.
        alt: What it shows.
    """
    start = document.index("<svg")
    body = document[document.index(">", start) + 1 :]
    view_box = re.search(r'viewBox="([^"]*)"', document[start:])
    assert view_box is not None
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Inside a page its rules would hold for everything; the page has them for its figures.
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    # Text keeps its `<` as `&lt;`: what follows touches tags alone.
    referenced = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', body))
    kept = {name for pair in referenced for name in pair if name}

    def mend(tag: re.Match[str]) -> str:
        text = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in kept else "", tag[0])
        text = re.sub(r"'DejaVu Sans'(, [^;\"]*)?(?=[;\"])", SYSTEM_FONTS, text)
        for entry in COLOURS:
            text = text.replace(entry.light, entry.css)
        return text

    body = re.sub(r"<[^>]*>", mend, body)
    body = re.sub(r"\n\s*", "\n", body).strip()
    return (
        f'<svg viewBox="{view_box[1]}" role="img" aria-label="{attribute(alt)}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{body}'
    )


def attribute(text: str) -> str:
    """Return a text as it stands between the quotes of an attribute."""
    from html import escape

    return escape(escape_controls(text), quote=True)
