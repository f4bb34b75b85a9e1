"""What an adapter knows of a trial: the handle that `train(widths, trial)` is given.

Entry points: `TrialHandle`; `read_metric`, for the metric by its name; `read_numbers`, for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch


class TrialHandle(Protocol):
    """The part of `widthwise.Trial` that adapters use."""

    seed: int
    device: torch.device
    epochs: int | None
    folder: Path

    def report(self, step: float, value: float, others: Mapping[str, float] | None = None) -> None:
        """Report the metric and others of its step; raises StopTraining at the training's end."""
        ...

    def log(self, **values: float) -> None:
        """Record other values."""
        ...


def read_metric(
    figures: Mapping[str, Any], monitor: str, source: str
) -> tuple[float, dict[str, float]]:
    """Return the monitored figure and the other numbers, by name.

    Args:
        figures: What was measured.
        monitor: The metric's name.
        source: Where the figures come from, for the message.

    Raises:
        ValueError: The metric is not among them.
    """
    if monitor not in figures:
        names = ", ".join(map(str, figures)) or "nothing"
        raise ValueError(f'{source} gave no "{monitor}": found {names}; name one of these')
    others = {name: number for name, number in read_numbers(figures).items() if name != monitor}
    return float(figures[monitor]), others


def read_numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that are numbers, by name."""
    numbers = {str(name): _number(value) for name, value in figures.items()}
    return {name: number[0] for name, number in numbers.items() if number}


def _number(value: Any) -> tuple[float] | None:
    """Return a scalar in a tuple; None for anything else."""
    if isinstance(value, bool | str | bytes) or value is None:
        return None
    try:
        return (float(value),)
    except (TypeError, ValueError, RuntimeError):
        return None
