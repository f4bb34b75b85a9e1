"""Luck: why the recommended candidate is not the best observed one, in numbers.

The best of n trainings is the one whose luck was greatest (the winner's curse): among n networks
that are equally good, the luckiest is expected to stand above the truth by

    E[max of n normals] ≈ Φ⁻¹((n − 0.375) / (n + 0.25))

standard deviations of one training. Source: Blom, Statistical Estimates and Transformed
Beta-Variables (1958), §6.9. For n = 40: 2.16.

Entry points: `expected_luck`, `describe_luck`.
"""

from __future__ import annotations

from scipy.special import ndtri

from ...goal import Goal
from ..metric_format import format_difference, format_metric
from .candidate import JudgedCandidate


def expected_luck(count: int) -> float:
    """Return how far the luckiest of some equally good trainings stands above them, in σ."""
    return float(ndtri((count - 0.375) / (count + 0.25))) if count > 1 else 0.0


def describe_luck(
    recommended: JudgedCandidate,
    best_observed: JudgedCandidate,
    goal: Goal,
    noise: float,
    count: int,
) -> str | None:
    """Return why what is recommended is not what was observed best; None where it is the same.

    Args:
        recommended: The answer.
        best_observed: The trial with the best metric.
        goal: Says which metric is better.
        noise: Standard deviation of one training.
        count: Number of trainings.
    """
    trial, estimate = best_observed.trial, best_observed.estimate
    if trial is None or estimate is None or recommended.estimate is None:
        return None
    if dict(recommended.widths) == dict(best_observed.widths):
        return None
    luck = goal.sign * (trial.value - estimate.mean)
    believed = format_metric(estimate.mean, estimate.deviation, with_deviation=True)
    better = recommended.estimate
    recommended_shown = format_metric(better.mean, better.deviation, with_deviation=True)
    reason = f"its widths are believed to reach {believed}"
    if luck > 0:
        reason = (
            f"{format_difference(luck, noise, signed=False)} of it is believed to be the luck of "
            f"that training, which its widths would not repeat: they are believed to reach "
            f"{believed}"
        )
    typical = format_difference(expected_luck(count) * noise, noise, signed=False)
    return (
        f"Not the best observed: trial {trial.number} was measured at "
        f"{format_metric(trial.value, noise)}, but {reason}, the recommended ones "
        f"{recommended_shown}. The luckiest of {count} equally good trainings is expected "
        f"{typical} better than the rest (luck of one: "
        f"±{format_difference(noise, noise, signed=False)})."
    )
