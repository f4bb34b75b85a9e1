"""Numbers that a user's training hands over: one of any numeric type, or a sentence.

Entry points: `read_number`, `read_metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch

from ..errors import TrainingError, describe_value


def read_number(value: Any, what: str) -> float:
    """Return one number as a float, which may be NaN or infinite.

    Args:
        value: A number of Python, numpy or torch; of an array or tensor, its only element.
        what: What it is, for the message: "trial.report(step, value): the value".

    Raises:
        TrainingError: It is none.
    """
    number = value
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        number = value.item()
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TrainingError(f"{what} is {describe_value(value)}: expected one number.")
    try:
        return float(number)
    except Exception as error:  # a whole number may be too large, a class of one's own anything
        raise TrainingError(
            f"{what} is {describe_value(value)}: expected a number of double precision."
        ) from error


def read_metrics(values: Mapping[Any, Any], metric: str, what: str) -> tuple[float, dict[str, Any]]:
    """Return the metric of a mapping, and what else it holds.

    Args:
        values: By name.
        metric: Name of the study's metric.
        what: What the mapping is, for the message: "train(widths, trial) returned".

    Raises:
        TrainingError: The metric is not among them, or no number.
    """
    others = {str(name): value for name, value in values.items()}
    if metric not in others:
        names = ", ".join(list(others)[:10]) or "nothing"
        raise TrainingError(
            f"{what} a mapping with {names}, but not {metric}, the study's metric: put it in."
        )
    return read_number(others.pop(metric), f"{metric}, which {what},"), others
