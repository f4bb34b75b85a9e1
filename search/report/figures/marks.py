"""Marks that several figures share: reference models as lines, baselines and answers as shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes

from .style.legend import Legend
from .style.palette import BASELINE, OBSERVED, RECOMMENDED, REFERENCE_COLOURS
from .view import Candidate, StudyView

BASELINE_MARKERS = ("s", "^", "D", "v", "P", "X")
"""Shapes of the baselines, in the order in which they are drawn."""


def draw_references(axes: Axes, legend: Legend, study: StudyView) -> None:
    """Draw the reference models as lines across; one that is far away is told in the legend."""
    for reference in study.references:
        colour = REFERENCE_COLOURS[reference.name]
        outside = study.outside(reference.value)
        if outside is None:
            axes.axhline(reference.value, color=colour.light, linewidth=1.2, linestyle=(0, (4, 3)))
            legend.line(reference.title, colour, dashed=True)
        else:
            legend.line(f"{reference.title} {reference.value:.3g}, {outside}", colour, dashed=True)


def trial_label(study: StudyView, values: Sequence[float]) -> str:
    """Return what the dots of trials are called, and how many lie outside the axes."""
    outside = sum(study.outside(value) is not None for value in values)
    return f"trial ({outside} outside)" if outside else "trial"


def candidate_marks(study: StudyView, legend: Legend) -> Iterator[tuple[Candidate, dict[str, Any]]]:
    """Yield the networks to point at, the recommended one last, each with how it is drawn."""
    for index, baseline in enumerate(study.baselines):
        marker = BASELINE_MARKERS[index % len(BASELINE_MARKERS)]
        legend.mark(baseline.label, BASELINE, marker)
        yield baseline, legend.style(BASELINE, marker, 7.0)
    if (observed := study.best_observed) is not None:
        legend.mark(observed.label, OBSERVED, "o", hollow=True)
        yield observed, legend.style(OBSERVED, "o", 9.0, hollow=True)
    if (recommended := study.recommended) is not None:
        legend.mark(recommended.label, RECOMMENDED, "*")
        yield recommended, legend.style(RECOMMENDED, "*", 14.0)
