"""Quality against cost: every trial, the front, the limits, baselines and other models."""

from __future__ import annotations

from ...units import COST_BY_NAME, format_cost
from .marks import candidate_marks, draw_references, trial_label
from .style.canvas import (
    Drawing,
    dots,
    new_axes,
    render,
    set_span,
    show_costs,
    style_context,
    title_height,
)
from .style.legend import Legend
from .style.palette import INK, LIMIT, TRIAL
from .view import StudyView


def draw_front(study: StudyView, cost: str, *, name: str) -> Drawing | None:
    """Draw the metric against a cost.

    Args:
        study: What is drawn.
        cost: Name of the cost.
        name: Of the drawing.

    Returns:
        The drawing; None where no trial has the cost.
    """
    trials = [trial for trial in study.trials if trial.costs.get(cost, 0) > 0]
    if not trials:
        return None
    costs = [trial.costs[cost] for trial in trials]
    values = [trial.value for trial in trials]
    limit = study.limits.get(cost)
    log = max(costs) > 20 * min(costs)
    with style_context():
        figure, axes = new_axes()
        legend = Legend()
        set_span(axes, "x", [*costs, *([] if limit is None else [limit])], log=log)
        set_span(axes, "y", study.span)
        title = COST_BY_NAME[cost].title
        axes.set_xlabel(f"{title} of the network")
        title_height(axes, study.metric_axis)
        show_costs(axes, "x", cost)
        dots(axes, costs, values, TRIAL)
        legend.dot(trial_label(study, values), TRIAL)
        if cost == study.cost and len(study.front) > 1:
            axes.step(
                [trial.costs[cost] for trial in study.front],
                [trial.value for trial in study.front],
                where="post",
                color=INK.light,
                linewidth=1.2,
            )
            legend.line("front", INK)
        draw_references(axes, legend, study)
        if limit is not None:
            axes.axvspan(limit, axes.get_xlim()[1], facecolor=LIMIT.light, alpha=0.1, linewidth=0)
            axes.axvline(limit, color=LIMIT.light, linewidth=1.4)
            legend.line(f"limit {format_cost(cost, limit)}", LIMIT)
        for candidate, style in candidate_marks(study, legend):
            height, amount = candidate.height, candidate.costs.get(cost)
            if height is not None and amount is not None:
                axes.plot([amount], [height], **style)
        legend.draw(figure)
        return render(
            figure,
            name=name,
            alt=f"Validation {study.metric} of {len(trials)} trials against {title}"
            + ("" if limit is None else f", with the limit of {format_cost(cost, limit)}")
            + ".",
        )
