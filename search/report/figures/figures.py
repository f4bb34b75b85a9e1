"""The figures of a report, each with the words that stand under it: entry point `draw_figures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...units import COST_BY_NAME
from . import confirmation, costs, curves, front, history, parallel, response
from .style.canvas import Drawing
from .view import StudyView

MAX_COSTS = 3
"""Costs that quality is drawn against."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing in a report.

    Attributes:
        title: What it shows, in a few words.
        caption: How to read it, in a sentence or two; names in it are as users gave them.
        drawing: The picture.
    """

    title: str
    caption: str
    drawing: Drawing


@dataclass(frozen=True, kw_only=True)
class FigureGroup:
    """Figures that answer one question.

    Attributes:
        name: Letters and hyphens.
        title: The question.
        figures: The answers, at least one.
    """

    name: str
    title: str
    figures: Sequence[Figure]


def draw_figures(study: StudyView) -> list[FigureGroup]:
    """Draw all that the study has to show; what it has not is left out."""
    groups = (
        FigureGroup(name="quality", title="Quality against cost", figures=_quality(study)),
        FigureGroup(
            name="confirmation", title="Confirmed with fresh seeds", figures=_confirmation(study)
        ),
        FigureGroup(name="search", title="How the search went", figures=_search(study)),
        FigureGroup(name="layers", title="What each width does", figures=_layers(study)),
        FigureGroup(name="learning", title="How the networks learn", figures=_learning(study)),
    )
    return [group for group in groups if group.figures]


def _quality(study: StudyView) -> list[Figure]:
    named = [study.cost, *(cost for cost in study.drawn_costs if cost in study.limits)]
    drawn = []
    for cost in list(dict.fromkeys(named))[:MAX_COSTS]:
        title = COST_BY_NAME[cost].title
        what = "; beyond the line no network was allowed" if cost in study.limits else ""
        drawn.append(
            (
                f"{study.metric} against {title}",
                f"Every dot is one training{what}. Single dots scatter by luck.",
                front.draw_front(study, cost, name=f"front-{cost.replace('_', '-')}"),
            )
        )
    drawn.append(
        (
            "Costs against the limits" if study.limits else "What the networks cost",
            "What the networks take of every limit."
            if study.limits
            else "No limit was set: shares are of the dearest of these networks.",
            costs.draw_costs(study),
        )
    )
    return _present(drawn)


def _confirmation(study: StudyView) -> list[Figure]:
    return _present(
        [
            (
                "Long trainings with fresh seeds",
                "Trainings of one seed share the split and the order of the data, so they are "
                "compared in pairs; intervals hold at every look of the race.",
                confirmation.draw_confirmation(study),
            )
        ]
    )


def _search(study: StudyView) -> list[Figure]:
    shown = min(len(study.trials), parallel.MAX_LINES)
    which = (
        "Every line is a trial"
        if shown == len(study.trials)
        else f"{shown} of {len(study.trials):,} trials: the best {parallel.MAX_LINES // 2}, and "
        "others spread over all ranks"
    )
    return _present(
        [
            (
                "History",
                "The best observed value only rises, with luck as well; the surrogate’s line is "
                "without that luck.",
                history.draw_history(study),
            ),
            (
                "Widths",
                f"{which}; the darker, the better (on a dark page: the brighter).",
                parallel.draw_parallel(study),
            ),
        ]
    )


def _layers(study: StudyView) -> list[Figure]:
    names = study.evidence.space.names
    figures = []
    for drawing in response.draw_responses(study):
        column = int(drawing.name.rpartition("-")[2]) - 1
        figures.append(
            (
                names[column],
                "What the surrogate expects along this width, the others as recommended.",
                drawing,
            )
        )
    return _present(figures)


def _learning(study: StudyView) -> list[Figure]:
    recommended = study.recommended
    return _present(
        [
            (
                "Validation by epoch",
                "Thin lines are other trials; the strong one is the recommended network’s."
                if recommended is not None and recommended.number is not None
                else "Every line is a trial; the recommended network was not among them.",
                curves.draw_metric_curves(study),
            ),
            (
                "Training and validation loss",
                "A validation loss that rises while the training loss falls is overfitting.",
                curves.draw_loss_curves(study),
            ),
        ]
    )


def _present(drawn: Sequence[tuple[str, str, Drawing | None]]) -> list[Figure]:
    return [
        Figure(title=title, caption=caption, drawing=drawing)
        for title, caption, drawing in drawn
        if drawing is not None
    ]
