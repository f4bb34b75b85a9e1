"""Estimates: means over parts of the rows with intervals, and least squares with a little ridge.

Entry points: `Interval`, `mean_interval`; `solve_ridge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from torch import Tensor

CONFIDENCE = 0.90
"""Of every interval here: with 95 % the mean is not below its lower end."""
_RIDGE = 1e-4
"""Of the mean square of the columns of least squares, which may be collinear."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its interval.

    Attributes:
        mean: Of the parts.
        low: Lower end of the 90 % interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} (90 %: {self.low:.3g} to {self.high:.3g})"


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of independent parts of equal size and its interval.

    Mean ± t_{n−1} s / √n, Student's t with n − 1 degrees of freedom. Of a single part the interval
    is unbounded, and given as the mean ± its size, which no decision is drawn from.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return Interval(mean=mean, low=mean - abs(mean), high=mean + abs(mean))
    error = float(array.std(ddof=1)) / len(array) ** 0.5
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, len(array) - 1)) * error
    return Interval(mean=mean, low=mean - half, high=mean + half)


def solve_ridge(columns: Tensor, targets: Tensor) -> Tensor:
    """Return the least squares of targets [n, k] on columns [n, c], with a little ridge, [c, k]."""
    columns, wanted = columns.double(), targets.double()
    gram = columns.T @ columns
    ridge = _RIDGE * float(gram.diagonal().mean()) + 1e-12
    gram.diagonal().add_(ridge)
    solution: Tensor = torch.linalg.solve(gram, columns.T @ wanted)
    return solution.to(targets.dtype)
