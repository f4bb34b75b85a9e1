"""Metrics for people: as many decimals as their spread is worth.

A figure whose standard error is 0.0024 is shown with four decimals, one of 12 with none: digits
beyond the second of the spread say nothing (Taylor, An Introduction to Error Analysis (1997), §2.2,
and one digit more). Entry points: `format_metric`, `format_difference`; `SHARE_METRICS`, `PERFECT`.
"""

from __future__ import annotations

import math

_MAX_DECIMALS = 10

SHARE_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "top5_accuracy",
    "f1",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "precision",
    "recall",
    "iou",
    "dice",
)
"""Built-in metrics between 0 and 1 that people tell in percent."""

_PERFECT_AT_1 = (
    *SHARE_METRICS,
    *("mcc", "kappa", "auroc", "average_precision", "perplexity"),
    *("r2", "explained_variance", "pearson", "spearman"),
)
_PERFECT_AT_0 = ("cross_entropy", "hamming", "mse", "rmse", "mae", "mape")
PERFECT = dict.fromkeys(_PERFECT_AT_1, 1.0) | dict.fromkeys(_PERFECT_AT_0, 0.0)
"""What a perfect model has of each built-in metric; of one's own, and of a loss, nobody knows."""


def format_metric(
    value: float | None, deviation: float | None = None, *, with_deviation: bool = False
) -> str:
    """Return a metric: "0.9778", or "0.9778 ± 0.0024"; "—" for None.

    Args:
        value: In the metric's unit.
        deviation: Its spread; without one it has four decimals, of a large one none, or four
            digits where these would show nothing of it.
        with_deviation: Whether the spread is shown.
    """
    if value is None:
        return "—"
    if deviation is None or not math.isfinite(deviation) or deviation <= 0:
        if 1e4 <= abs(value) < 1e9:
            return f"{value:.0f}"
        return f"{value:.4f}" if 1e-2 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"
    decimals = _decimals(deviation)
    text = f"{value:.{decimals}f}"
    return f"{text} ± {deviation:.{decimals}f}" if with_deviation else text


def format_difference(value: float, deviation: float, *, signed: bool = True) -> str:
    """Return a difference of metrics: "+0.0004" with the decimals that its spread is worth."""
    decimals = _decimals(deviation) if deviation > 0 and math.isfinite(deviation) else 4
    return f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"


def _decimals(deviation: float) -> int:
    """Return the decimals that show two digits of a spread; four at least of one below 1 %."""
    return min(max(1 - math.floor(math.log10(deviation)), 0), _MAX_DECIMALS)
