"""The sentences below a study's verdict: what is recommended, why, and what else is to be known.

Entry point: `answer_lines`; each of the others gives one of them, or None.
"""

from __future__ import annotations

from ..units import format_widths
from .metric_format import format_metric
from .reference import better_model
from .summary import StudySummary
from .verdict import Verdict


def recommended_line(summary: StudySummary) -> str | None:
    """Return what is recommended and what is believed of it; None where nothing is."""
    taken, answer = summary.recommended, summary.recommendation
    if taken is None or answer is None or summary.verdict is Verdict.NOT_TRAINED:
        return None
    known = f"trial {taken.trial.number}" if taken.trial else "never trained in the search"
    believed = ""
    if estimate := taken.estimate:
        mean, low, high = (
            format_metric(figure, estimate.deviation)
            for figure in (estimate.mean, estimate.low, estimate.high)
        )
        believed = f", believed to have {summary.metric} {mean} (95 %: {low} to {high})"
    line = f"Recommended: {format_widths(taken.widths)}, {known}{believed}."
    if summary.is_pick_recommended:
        return line
    pick = format_widths(answer.recommended.widths)
    return f"{line} Before its confirmation the search would have taken {pick}."


def reported_line(summary: StudySummary) -> str | None:
    """Return what was recorded beside the metric of the recommended network; None for nothing."""
    trial = summary.recommended.trial if summary.recommended else None
    if trial is None or not trial.reported:
        return None
    figures = ", ".join(f"{name} {format_metric(value)}" for name, value in trial.reported.items())
    return f"Recorded beside {summary.metric} in trial {trial.number}: {figures}."


def reason_line(summary: StudySummary) -> str | None:
    """Return why the recommended candidate is not the best observed one; None where it is."""
    if summary.recommendation is None or not summary.is_pick_recommended:
        return None
    return summary.recommendation.reason


def better_model_line(summary: StudySummary) -> str | None:
    """Return which other model is better than the recommended network; None where none is."""
    recommended = summary.recommended
    if recommended is None:
        return None
    if (comparison := summary.comparison) is not None:
        return comparison.sentence()
    value = recommended.value
    if value is None and recommended.estimate is not None:
        value = recommended.estimate.mean
    model = None if value is None else better_model(summary.references, value, summary.goal)
    if model is None:
        return None
    return (
        f"Another model is better on the same validation rows: {model.title} with {summary.metric} "
        f"{model.value:.4g}, the recommended network has {value:.4g}."
    )


def constant_line(summary: StudySummary) -> str | None:
    """Return how many trials are no better than a constant prediction; None where none is."""
    useless = summary.no_better_than_constant
    if not useless:
        return None
    trial = summary.recommended.trial if summary.recommended else None
    constant = useless[-1].constant_score
    return (
        f"{len(useless)} of {len(summary.trials)} trials are no better than a constant prediction "
        f"({summary.metric} {format_metric(constant)})"
        + (
            ", the recommended one too: nothing was learnt; scale the targets where a loss of "
            "yours gets them as they are, train longer, or try another learning rate."
            if trial is not None and trial.no_better_than_constant
            else "."
        )
    )


def answer_lines(summary: StudySummary) -> list[str]:
    """Return what stands below the verdict, each a sentence or two."""
    confirmation = summary.confirmation
    # A complete confirmation compares with long trainings.
    is_told = confirmation and confirmation.complete and confirmation.names_better_model
    lines = (
        recommended_line(summary),
        reported_line(summary),
        reason_line(summary),
        None if is_told else better_model_line(summary),
        constant_line(summary),
    )
    stopping = summary.stopping.sentences() if summary.stopping else []
    return [*(line for line in lines if line is not None), *stopping]
