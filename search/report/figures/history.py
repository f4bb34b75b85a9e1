"""The history: every trial in the order of the budget, and what the surrogate believed is best."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from .marks import candidate_marks, draw_references, trial_label
from .style.canvas import Drawing, dots, new_axes, render, set_span, style_context, title_height
from .style.legend import Legend
from .style.palette import OBSERVED, RECOMMENDED, TRIAL
from .view import INTERVAL, StudyView


def draw_history(study: StudyView, *, name: str = "history") -> Drawing | None:
    """Draw the metrics by trial, the best one so far, and the best as the surrogate sees it.

    The latter is the surrogate after all trials, of the candidate that it holds best among those
    tried up to there: luck of single trainings is not in it. Its band holds 95 %.

    Returns:
        The drawing; None where no trial is complete.
    """
    if not study.trials:
        return None
    numbers = np.asarray([trial.number for trial in study.trials], dtype=float)
    sign = study.goal.sign
    with style_context():
        figure, axes = new_axes()
        legend = Legend()
        set_span(axes, "x", [0.0, float(numbers.max())], margin=0.03)
        set_span(axes, "y", study.span)
        axes.set_xlabel("trial (in the order of the budget)")
        title_height(axes, study.metric_axis)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        dots(axes, numbers, study.values, TRIAL)
        legend.dot(trial_label(study, study.values.tolist()), TRIAL)
        draw_references(axes, legend, study)
        best = sign * np.maximum.accumulate(sign * study.values)
        axes.step(numbers, best, where="post", color=OBSERVED.light, linewidth=1.3)
        legend.line("best observed so far", OBSERVED)
        if study.beliefs is not None:
            mean, deviation = study.beliefs
            leaders = _leaders(sign * mean)
            middle, reach = mean[leaders], INTERVAL * deviation[leaders]
            axes.fill_between(
                numbers,
                middle - reach,
                middle + reach,
                step="post",
                color=RECOMMENDED.light,
                alpha=0.18,
                linewidth=0,
            )
            axes.step(numbers, middle, where="post", color=RECOMMENDED.light, linewidth=1.8)
            legend.line("best by the surrogate", RECOMMENDED, width=1.8)
            legend.band("its 95 % interval", RECOMMENDED)
        for candidate, style in candidate_marks(study, legend):
            if candidate.number is not None and candidate.value is not None:
                axes.plot([candidate.number], [candidate.value], **style)
        legend.draw(figure)
        return render(
            figure,
            name=name,
            alt=f"Validation {study.metric} of {len(study.trials)} trials in the order of the "
            "budget, with the best so far"
            + (", observed and by the surrogate." if study.beliefs is not None else "."),
        )


def _leaders(
    signed_means: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return for each trial the index of the one with the best mean up to it, [n]."""
    best = np.maximum.accumulate(signed_means)
    is_new = np.concatenate([[True], signed_means[1:] > best[:-1]])
    return np.maximum.accumulate(np.where(is_new, np.arange(len(best)), 0))
