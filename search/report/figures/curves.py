"""Learning curves: training and validation of the recommended network, and all others thin."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ...trial.history import CompletedTrial
from .selection import spread_selection
from .style.canvas import Drawing, new_axes, render, set_span, style_context, title_height
from .style.legend import Legend
from .style.palette import OBSERVED, RECOMMENDED, TRIAL
from .view import StudyView

MAX_LINES = 100
"""Trials whose curves are drawn thin: the best, and others spread over all ranks."""


def draw_metric_curves(study: StudyView, *, name: str = "learning-curves") -> Drawing | None:
    """Draw the validation metric by epoch of the trials, the recommended one strong.

    Returns:
        The drawing; None where no trial has a curve.
    """
    trials = [trial for trial in _chosen(study) if len(trial.curve) > 1]
    if not trials:
        return None
    recommended = _recommended_trial(study)
    with style_context():
        figure, axes = new_axes()
        legend = Legend()
        longest = max(float(epochs_of(trial, len(trial.curve))[-1]) for trial in trials)
        ends = [value for trial in trials for value in trial.curve[len(trial.curve) // 4 :]]
        set_span(axes, "x", [1.0, longest], margin=0.02)
        set_span(axes, "y", [*np.quantile(_finite(ends), [0.02, 1.0]), *study.span])
        axes.set_xlabel("epochs trained")
        title_height(axes, study.metric_axis)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        _draw_thin(axes, trials)
        legend.line(_thin_label(study, len(trials)), TRIAL, width=0.8)
        if recommended is not None and len(recommended.curve) > 1:
            epochs = epochs_of(recommended, len(recommended.curve))
            axes.plot(epochs, recommended.curve, color=RECOMMENDED.light, linewidth=2.2)
            legend.line("recommended", RECOMMENDED, width=2.2)
            if recommended.best_epoch is not None:
                at = recommended.best_epoch
                axes.plot(
                    [epochs[at]], [recommended.curve[at]], **legend.style(RECOMMENDED, "*", 13.0)
                )
                legend.mark("weights that were judged", RECOMMENDED, "*")
        legend.draw(figure)
        return render(
            figure,
            name=name,
            alt=f"Validation {study.metric} by epoch of {len(trials)} trials, the recommended one "
            "strong.",
        )


def draw_loss_curves(study: StudyView, *, name: str = "losses") -> Drawing | None:
    """Draw training and validation loss of the recommended network by epoch.

    Returns:
        The drawing; None where the recommended network has no losses.
    """
    trial = _recommended_trial(study)
    if trial is None or len(trial.losses) < 2:
        return None
    with style_context():
        figure, axes = new_axes()
        legend = Legend()
        losses = _finite([*trial.losses, *trial.validation_losses])
        positive = bool((losses > 0).all())
        epochs = epochs_of(trial, max(len(trial.losses), len(trial.validation_losses)))
        set_span(axes, "x", [1.0, float(epochs[-1])], margin=0.02)
        set_span(axes, "y", losses.tolist(), log=positive and losses.max() > 20 * losses.min())
        axes.set_xlabel("epochs trained")
        title_height(axes, "loss of the recommended network (lower is better)")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        for label, values, colour, dashes in (
            ("training", trial.losses, RECOMMENDED, "-"),
            ("validation", trial.validation_losses, OBSERVED, (0, (5, 2))),
        ):
            if len(values) > 1:
                axes.plot(
                    epochs[: len(values)],
                    values,
                    color=colour.light,
                    linewidth=1.8,
                    linestyle=dashes,
                )
                legend.line(label, colour, dashed=dashes != "-", width=1.8)
        if trial.best_epoch is not None:
            axes.axvline(
                float(epochs[trial.best_epoch]),
                color=TRIAL.light,
                linewidth=1.2,
                linestyle=(0, (2, 2)),
            )
            legend.line("weights that were judged", TRIAL, dashed=True)
        legend.draw(figure)
        return render(
            figure,
            name=name,
            alt="Training and validation loss of the recommended network by epoch.",
        )


def _chosen(study: StudyView) -> list[CompletedTrial]:
    chosen = study.order[spread_selection(len(study.trials), MAX_LINES)]
    return [study.trials[index] for index in chosen]


def _recommended_trial(study: StudyView) -> CompletedTrial | None:
    recommended = study.recommended
    if recommended is None or recommended.number is None:
        return None
    return next((trial for trial in study.trials if trial.number == recommended.number), None)


def epochs_of(trial: CompletedTrial, count: int) -> NDArray[np.float64]:
    """Return after how many epochs each of so many validations came: short epochs skip some.

    Where a training of the user's own reported them, they came at its steps.
    """
    if len(trial.steps) == count:
        return np.asarray(trial.steps, dtype=np.float64)
    validations = len(trial.curve) or count
    trained = float(trial.epochs or validations)
    every = max(1, math.ceil(trained / max(1, validations)))
    return np.asarray(np.minimum(every * np.arange(1.0, count + 1.0), max(trained, 1.0)))


def _draw_thin(axes: Axes, trials: Sequence[CompletedTrial]) -> None:
    lines = [np.column_stack([epochs_of(trial, len(trial.curve)), trial.curve]) for trial in trials]
    axes.add_collection(LineCollection(lines, colors=TRIAL.light, linewidths=0.7, alpha=0.55))


def _thin_label(study: StudyView, drawn: int) -> str:
    return "trials" if drawn == len(study.trials) else f"{drawn} of {len(study.trials):,} trials"


def _finite(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]
