"""Response curves: what the surrogate expects along one width, the others held as recommended."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ...printable import escape_controls, shortened
from ...space.width import ABSENT, Width
from .marks import trial_label
from .style.canvas import Drawing, new_axes, render, set_span, style_context, title_height
from .style.legend import Legend
from .style.palette import RECOMMENDED, TRIAL
from .view import INTERVAL, StudyView

MAX_CURVES = 12
"""Widths that get a figure; of more, those along which the surrogate changes most."""
_MAX_POINTS = 200
_MAX_LETTERS = 40


def draw_responses(study: StudyView) -> list[Drawing]:
    """Draw the surrogate's mean and its 95 % interval along each width.

    Returns:
        A drawing for each width; none without a surrogate or an answer.
    """
    recommended = study.recommended
    if recommended is None or study.beliefs is None:
        return []
    curves = []
    for column, width in enumerate(study.evidence.space.widths):
        rows = _rows_along(study, recommended.widths, column, width)
        mean, deviation = study.predict(rows)
        curves.append((column, width, rows[:, column], mean, deviation))
    curves.sort(key=lambda curve: -float(np.ptp(curve[3])))
    chosen = sorted(curves[:MAX_CURVES], key=lambda curve: curve[0])
    # One scale for all: a flat curve shall look flat beside a steep one.
    low = min(float((mean - INTERVAL * deviation).min()) for *_, mean, deviation in chosen)
    high = max(float((mean + INTERVAL * deviation).max()) for *_, mean, deviation in chosen)
    return [
        _draw_response(study, column, width, values, mean, deviation, (low, high))
        for column, width, values, mean, deviation in chosen
    ]


def _rows_along(
    study: StudyView, widths: Mapping[str, int], column: int, width: Width
) -> NDArray[np.int64]:
    """Return candidates that differ from the given one in one width alone, [n, d].

    The surrogate is asked beyond order and limits as well: the curve shows what it believes, and
    not what may be chosen.
    """
    present = np.asarray([value for value in width.values if value != ABSENT], dtype=np.int64)
    if len(present) > _MAX_POINTS:
        present = present[np.linspace(0, len(present) - 1, _MAX_POINTS).round().astype(int)]
    own = widths[width.name]
    values = np.union1d(present, [own, *([ABSENT] if width.optional else [])])
    rows = np.tile(study.evidence.space.as_row(widths), (len(values), 1))
    rows[:, column] = values
    return rows


def _draw_response(
    study: StudyView,
    column: int,
    width: Width,
    values: NDArray[np.int64],
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    span: tuple[float, float],
) -> Drawing:
    recommended = study.recommended
    assert recommended is not None
    name, title = escape_controls(width.name), shortened(width.name, _MAX_LETTERS)
    with style_context():
        figure, axes = new_axes(height=2.7)
        legend = Legend()
        log = width.scale == "log"
        places = _places(width, values)
        there = values != ABSENT
        set_span(axes, "x", [float(places.min()), float(places.max())], log=log, margin=0.02)
        set_span(axes, "y", span)
        ticks = _width_ticks(values[there], log)
        labels = {float(tick): f"{tick:,}" for tick in ticks}
        labels |= {float(place): "absent" for place in places[~there]}
        axes.set_xticks(list(labels), list(labels.values()))
        axes.set_xlabel(title)
        title_height(axes, f"expected {study.metric_axis}")
        reach = INTERVAL * deviation
        axes.fill_between(
            values[there],
            (mean - reach)[there],
            (mean + reach)[there],
            color=RECOMMENDED.light,
            alpha=0.18,
            linewidth=0,
        )
        legend.band("95 % interval", RECOMMENDED)
        axes.plot(values[there], mean[there], color=RECOMMENDED.light, linewidth=1.8)
        # What the surrogate expects of a network without the layer stands beside the curve.
        axes.errorbar(
            places[~there],
            mean[~there],
            yerr=reach[~there],
            fmt="_",
            color=RECOMMENDED.light,
            linewidth=1.8,
        )
        legend.line("surrogate’s mean", RECOMMENDED, width=1.8)
        own = recommended.widths[width.name]
        at_own = int(np.flatnonzero(values == own)[0])
        own_place = float(places[at_own])
        axes.axvline(own_place, color=RECOMMENDED.light, linewidth=1.0, linestyle=(0, (2, 2)))
        axes.plot([own_place], [mean[at_own]], **legend.style(RECOMMENDED, "*", 13.0))
        legend.mark(f"recommended: {own:,}", RECOMMENDED, "*")
        _draw_rug(study, axes, column)
        legend.line(trial_label(study, []) + "s’ widths", TRIAL)
        legend.draw(figure, columns=4)
        return render(
            figure,
            name=f"response-{column + 1}",
            alt=f"Expected validation {study.metric} along the width {name}, the others held as "
            f"recommended: from {mean[0]:.4g} at {values[0]:,} to {mean[-1]:.4g} at "
            f"{values[-1]:,}.",
        )


def _places(width: Width, values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return where widths stand on the axis, [n]: an absent layer below the least that is there."""
    below = width.low / 2.0 if width.scale == "log" else width.low - (width.high - width.low) / 8.0
    return np.where(values == ABSENT, below, values.astype(np.float64))


def _width_ticks(values: NDArray[np.int64], log: bool) -> list[int]:
    """Return five widths, or fewer, spread evenly over the axis."""
    low, high = int(values[0]), int(values[-1])
    places = np.geomspace(low, high, 5) if log else np.linspace(low, high, 5)
    nearest = np.abs(values[:, None] - places[None, :]).argmin(axis=0)
    return sorted({int(values[index]) for index in nearest})


def _draw_rug(study: StudyView, axes: Axes, column: int) -> None:
    """Mark at the foot which widths were trained."""
    name = study.evidence.space.names[column]
    trained = np.array(sorted({trial.widths[name] for trial in study.trials}), dtype=np.int64)
    axes.vlines(
        _places(study.evidence.space.widths[column], trained),
        0,
        0.03,
        transform=axes.get_xaxis_transform(),
        color=TRIAL.light,
        linewidth=1.0,
    )
