"""Measures that are a loss: the mean over a split, and the perplexity of a language model's own.

Entry points: `mean_loss`, `mean_loss_of_tokens`, `perplexity_of_loss`;
`token_count`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...data.dataset import IGNORED_CLASS
from ...errors import MetricError
from .accumulate import SummedMeasure, Sums, add_sums


def mean_loss(loss: Callable[[Any, Any], Tensor]) -> SummedMeasure:
    """Return the mean of a loss over the rows of a split: that of a batch counts by its rows."""
    return SummedMeasure(
        of_batch=lambda output, targets: _weighted(loss, output, targets, _row_count),
        finish=_mean,
        merge=add_sums,
    )


def mean_loss_of_tokens(loss: Callable[[Any, Any], Tensor]) -> SummedMeasure:
    """Return the mean of a loss over the class numbers of a split, but for those left out, -100.

    Of floating targets a batch counts by its rows.
    """
    return SummedMeasure(
        of_batch=lambda output, targets: _weighted(loss, output, targets, token_count),
        finish=_mean,
        merge=add_sums,
    )


def perplexity_of_loss(loss: Callable[[Any, Any], Tensor]) -> SummedMeasure:
    """Return exp(mean loss), a batch counting by its tokens: a model's own cross-entropy."""
    return SummedMeasure(
        of_batch=lambda output, targets: _weighted(loss, output, targets, token_count),
        finish=_exponential,
        merge=add_sums,
    )


def _weighted(
    loss: Callable[[Any, Any], Tensor],
    output: Any,
    targets: Any,
    count: Callable[[Any, Any], int | Tensor],
) -> Sums:
    with torch.no_grad():
        value = loss(output, targets).double().reshape(())
    weight = torch.as_tensor(count(output, targets), dtype=value.dtype, device=value.device)
    # The mean over nothing is NaN, and adds nothing.
    return torch.where(weight > 0, value * weight, torch.zeros_like(value)), weight


def _row_count(output: Any, targets: Any) -> int:
    """Return the rows of a batch: the length of its first tensor that is no scalar."""
    for values in (targets, output):
        tensor = _first_tensor(values)
        if tensor is not None:
            return len(tensor)
    raise MetricError("the batch has no tensor with rows: give its inputs or targets as tensors.")


def token_count(output: Any, targets: Any) -> int | Tensor:
    """Return the class numbers of a batch that count; of other targets, its rows."""
    tensor = _first_tensor(targets)
    if tensor is None or tensor.is_floating_point():
        return _row_count(output, targets)
    return (tensor != IGNORED_CLASS).sum()


def _first_tensor(values: Any) -> Tensor | None:
    if isinstance(values, Tensor):
        return values if values.ndim > 0 else None
    if isinstance(values, Mapping):
        values = values.values()
    elif not isinstance(values, tuple | list):
        return None
    return next((one for one in map(_first_tensor, values) if one is not None), None)


def _mean(total: Tensor, count: Tensor) -> float:
    return float(total / count)


def _exponential(total: Tensor, count: Tensor) -> float:
    mean = _mean(total, count)
    return math.exp(mean) if mean < 700 else math.inf  # the largest double is exp(709)
