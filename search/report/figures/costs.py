"""Costs against limits: what each network takes of every limit, in percent."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import PercentFormatter

from ...units import COST_BY_NAME, format_cost
from .style.canvas import FONT_SIZE, Drawing, new_axes, render, style_context
from .style.legend import Legend
from .style.palette import BASELINE, INK, LIMIT, OBSERVED, RECOMMENDED, SURFACE
from .view import StudyView


def draw_costs(study: StudyView, *, name: str = "costs") -> Drawing | None:
    """Draw bars of the shares of each limit; without limits, of what the dearest network takes.

    Returns:
        The drawing; None where there is no answer or no cost is known.
    """
    recommended = study.recommended
    if recommended is None:
        return None
    candidates = [recommended]
    seen = {tuple(recommended.widths.items())}
    others = [*study.baselines, *([study.best_observed] if study.best_observed else [])]
    for candidate in others:
        key = tuple(candidate.widths.items())
        if key not in seen:
            seen.add(key)
            candidates.append(candidate)
    names = list(study.limits) or [
        cost for cost in ("parameters", "flops", "train_memory") if cost in study.drawn_costs
    ]
    names = [cost for cost in names if all(cost in entry.costs for entry in candidates)]
    if not names:
        return None
    bounds = {
        cost: study.limits.get(cost) or max(entry.costs[cost] for entry in candidates) or 1.0
        for cost in names
    }
    of_what = "limit" if study.limits else "dearest"
    with style_context():
        rows = len(names) * (len(candidates) + 0.8)
        figure, axes = new_axes(height=max(2.0, 0.2 * rows + 1.0))
        legend = Legend()
        axes.grid(visible=False, axis="y")
        ticks, y = [], 0.0
        for cost in names:
            start = y
            for index, candidate in enumerate(candidates):
                colour, hatch = RECOMMENDED, ""
                if index:
                    is_observed = candidate is study.best_observed
                    colour = OBSERVED if is_observed else BASELINE
                    hatch = "" if is_observed else ("", "////", "....", "xxxx")[(index - 1) % 4]
                share = candidate.costs[cost] / bounds[cost]
                axes.barh(
                    y, share, height=0.8, facecolor=colour.light, alpha=0.9, hatch=hatch,
                    edgecolor=SURFACE.light, linewidth=0,
                )  # fmt: skip
                axes.annotate(
                    f"{_percent(share)} · {format_cost(cost, candidate.costs[cost])}",
                    (1.0, y),
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=FONT_SIZE - 2,
                    color=INK.light,
                )
                legend.bar(candidate.label, colour, hatch)
                y += 1.0
            ticks.append((start + y - 1.0) / 2)
            y += 0.8
        labels = [
            f"{COST_BY_NAME[cost].title}\n"
            + (f"≤ {format_cost(cost, study.limits[cost])}" if cost in study.limits else "")
            for cost in names
        ]
        axes.set_yticks(ticks, labels)
        axes.tick_params(axis="y", labelcolor=INK.light)
        axes.set_ylim(y - 1.0, -0.8)
        axes.set_xlim(0, 1.36)
        axes.set_xticks(np.linspace(0, 1, 5))
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.set_xlabel(f"share of the {of_what}")
        if study.limits:
            axes.axvline(1.0, color=LIMIT.light, linewidth=1.6)
            legend.line("limit", LIMIT)
        legend.draw(figure)
        return render(
            figure,
            name=name,
            alt="Costs of the recommended network and the baselines: "
            + ", ".join(
                f"{COST_BY_NAME[cost].title} {recommended.costs[cost] / bounds[cost]:.0%} of the "
                f"{of_what}"
                for cost in names
            )
            + " for the recommended one.",
        )


def _percent(share: float) -> str:
    """Return a share; a small one with its first digit, since nothing costs 0 %."""
    return f"{share:.0%}" if share >= 0.01 or share == 0 else f"{100 * share:.1g}%"
