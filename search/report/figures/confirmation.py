"""The confirmation: every training with a fresh seed, its mean, and the paired differences."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from ....storage.ledger.slot import widths_key
from ...follow_up_kind import FollowUpKind
from ...printable import shortened
from ..confirmation.confirmation import Confirmation, ContenderResult
from ..confirmation.confirmed_run import read_runs
from .marks import BASELINE_MARKERS
from .style.canvas import FONT_SIZE, Drawing, dots, new_axes, render, style_context
from .style.legend import Legend
from .style.palette import BASELINE, INK, MUTED, OBSERVED, RECOMMENDED, TRIAL, Colour
from .view import StudyView

_MAX_LETTERS = 26


def draw_confirmation(study: StudyView, *, name: str = "confirmation") -> Drawing | None:
    """Draw each contender's trainings and mean, and what it has over the reference, seed by seed.

    Returns:
        The drawing; None where nothing was confirmed.
    """
    confirmation = study.summary.confirmation
    if confirmation is None:
        return None
    results = [result for result in confirmation.results if result.metric is not None]
    if not results:
        return None
    sign = confirmation.metric.sign
    with style_context():
        figure, axes = new_axes(height=0.42 * len(results) + 1.5)
        axes.remove()
        values_axes, difference_axes = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1))
        legend = Legend()
        _draw_values(values_axes, legend, study, results, sign)
        _draw_differences(difference_axes, legend, confirmation, results)
        labels = [shortened(result.contender.title, _MAX_LETTERS) for result in results]
        values_axes.set_yticks(np.arange(len(results)), labels)
        values_axes.tick_params(axis="y", labelcolor=INK.light)
        values_axes.set_ylim(len(results) - 0.4, -0.6)
        for each in (values_axes, difference_axes):
            each.grid(visible=False, axis="y")
        legend.draw(figure)
        return render(figure, name=name, alt=_alt(confirmation, results))


def _draw_values(
    axes: Axes, legend: Legend, study: StudyView, results: list[ContenderResult], sign: float
) -> None:
    """Draw a dot for each training and the mean of each contender with its interval."""
    records = study.evidence.follow_ups.get(FollowUpKind.CONFIRMATION, ())
    runs = read_runs(records, study.evidence.spec.study.seed)
    values_by_key: dict[str, list[float]] = {}
    for run in runs:
        if run.value is not None and math.isfinite(run.value):
            values_by_key.setdefault(run.key, []).append(run.value)
    seeds = [values_by_key.get(widths_key(result.contender.widths), []) for result in results]
    shown = [value for values in seeds for value in values]
    for result in results:
        assert result.metric is not None
        reach = result.metric.half_width if math.isfinite(result.metric.half_width) else 0.0
        shown += [sign * result.metric.mean - reach, sign * result.metric.mean + reach]
    low, high = min(shown), max(shown)
    slack = 0.08 * (high - low) or 0.05 * abs(high) or 0.1
    axes.set_xlim(low - slack, high + slack)
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_title(
        f"validation {study.metric}", loc="left", fontsize=FONT_SIZE, color=MUTED.light, pad=7
    )
    axes.locator_params(axis="x", nbins=3)
    for row, (result, values) in enumerate(zip(results, seeds, strict=True)):
        # Side by side where they would hide each other.
        offsets = 0.26 + 0.10 * (np.arange(len(values)) % 2)
        dots(axes, values, row + offsets, TRIAL, size=4.0, alpha=0.9)
        mean = result.metric
        assert mean is not None
        colour, marker = _style(result, row)
        if math.isfinite(mean.half_width):
            axes.plot(
                [sign * mean.mean - mean.half_width, sign * mean.mean + mean.half_width],
                [row, row],
                color=colour.light,
                linewidth=2.0,
            )
        axes.plot([sign * mean.mean], [row], **legend.style(colour, marker, 8.0))
    legend.dot("one training, one seed", TRIAL)
    legend.mark("mean, with its interval", INK, "o")


def _draw_differences(
    axes: Axes, legend: Legend, confirmation: Confirmation, results: list[ContenderResult]
) -> None:
    """Draw each contender's paired difference from the reference with its interval."""
    reference = confirmation.reference
    is_share = confirmation.metric.is_share
    sign = confirmation.metric.sign
    scale = sign * (100.0 if is_share else 1.0)
    axes.set_title(
        "paired difference" + (", points" if is_share else ""),
        loc="left",
        fontsize=FONT_SIZE,
        color=MUTED.light,
        pad=7,
    )
    axes.locator_params(axis="x", nbins=3)
    axes.axvline(0.0, color=MUTED.light, linewidth=1.2)
    for row, result in enumerate(results):
        compared = result.against_reference
        if compared is None:
            if reference is not None and result.contender.key == reference.key:
                axes.annotate("reference", (0, row), xytext=(4, 0), textcoords="offset points",
                              va="center", fontsize=FONT_SIZE - 1.5, color=MUTED.light)  # fmt: skip
            continue
        difference = compared.difference
        colour, marker = _style(result, row)
        middle = scale * difference.mean
        if math.isfinite(difference.half_width):
            reach = abs(scale) * difference.half_width
            axes.plot(
                [middle - reach, middle + reach], [row, row], color=colour.light, linewidth=2.0
            )
        axes.plot([middle], [row], **legend.style(colour, marker, 8.0))
    better = f"{'right' if sign > 0 else 'left'} of the line is better"
    axes.set_xlabel(better, fontsize=FONT_SIZE - 1)


def _style(result: ContenderResult, row: int) -> tuple[Colour, str]:
    """Return colour and shape of a contender."""
    if result.contender.label == "recommended":
        return RECOMMENDED, "*"
    if result.contender.is_challenger:
        return OBSERVED, "o"
    return BASELINE, BASELINE_MARKERS[row % len(BASELINE_MARKERS)]


def _alt(confirmation: Confirmation, results: list[ContenderResult]) -> str:
    means = ", ".join(
        f"{result.contender.title} {confirmation.metric.sign * result.metric.mean:.4f}"
        for result in results
        if result.metric is not None
    )
    return (
        f"Validation {confirmation.metric.name} of {confirmation.trainings} trainings with fresh "
        f"seeds: means {means}; beside them the paired differences from the reference."
    )
