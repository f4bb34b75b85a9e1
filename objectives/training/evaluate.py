"""Evaluation: a model's outputs for a whole split, and their metric.

Entry points: `predict`, `evaluate_metric`; `predict_batch` and `BatchEvaluation` where a split
comes in batches.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from ..data.dataset import Task
from ..data.streams.batch import Batch
from ..data.streams.source import BatchData
from ..errors import MetricError, ModelError, describe_type
from ..model.losses import align_to_targets
from ..model.measures.mean_loss import token_count
from ..model.metrics import METRICS, Metric, MetricAccumulator
from ..model.objective import Objective, counts_tokens
from .step import autocast_context

EVAL_BATCH_SIZE = 1024
"""Rows in a batch of evaluation, where no gradients are kept."""


@torch.no_grad()
def predict(
    model: nn.Module,
    inputs: Tensor,
    batch_size: int = EVAL_BATCH_SIZE,
    autocast: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Any:
    """Return the model's outputs for all rows, in evaluation mode, with the model left in it.

    Args:
        model: Any module; its outputs are tensors, or tuples, lists or mappings of them.
        inputs: Rows first.
        batch_size: Rows at a time.
        autocast: Type to compute in; outputs of that type come back as float32.
        device: The model's, where the inputs are elsewhere: batches are moved to it.
    """
    model.eval()
    device = inputs.device if device is None else device
    with autocast_context(autocast, Batch(args=(inputs[:0].to(device),))):
        outputs = [model(rows.to(device)) for rows in torch.split(inputs, batch_size)]
    return concatenate_outputs(
        outputs if autocast is None else [_to_float32(output) for output in outputs]
    )


@torch.no_grad()
def predict_batch(model: nn.Module, batch: Batch, autocast: torch.dtype | None = None) -> Any:
    """Return the model's output for a batch, in evaluation mode, with the model left in it.

    Args:
        model: Any module.
        batch: On the model's device.
        autocast: Type to compute in; outputs of that type come back as float32.
    """
    model.eval()
    with autocast_context(autocast, batch):
        output = batch.call(model)
    return output if autocast is None else _to_float32(output)


def evaluate_metric(
    objective: Objective, output: Any, targets: Tensor, metric: Metric | None = None
) -> float:
    """Return the metric over all rows of a split, in the units of the targets.

    Args:
        objective: Gives the metric and the units of the target.
        output: The model's outputs, rows first.
        targets: As the split holds them.
        metric: None for the one that is searched.

    Raises:
        MetricError: The metric raised or gave no number.
    """
    data, metric = objective.data, metric or objective.metric
    if isinstance(data, BatchData) or metric.name == METRICS["loss"].name:
        return metric(output, targets)  # both sides as the loss has them
    output = align_to_targets(output, targets, data.task)
    # Outputs of another shape (a mean and a variance, say) are understood by the user's metric
    # alone: then both sides stay as the loss has them.
    if (
        data.task == Task.REGRESSION
        and isinstance(output, Tensor)
        and output.shape == targets.shape
    ):
        output, targets = data.in_target_units(output), data.in_target_units(targets)
    if data.task == Task.CLASSIFICATION and metric.task is not None:
        targets = data.class_numbers(targets)  # what a built-in metric counts
    return metric(output, targets)


@final
class BatchEvaluation:
    """The loss and metrics of one model over a split that comes in batches."""

    def __init__(self, objective: Objective, metrics: Sequence[Metric] | None = None) -> None:
        """Begin before the first batch.

        Args:
            objective: Gives the loss, and the metric that is searched by.
            metrics: What is judged; None for that metric alone.
        """
        self._objective = objective
        chosen = [objective.metric] if metrics is None else metrics
        self._accumulators: list[MetricAccumulator | Exception] = [
            metric.start() for metric in chosen
        ]
        self._counts_tokens = counts_tokens(objective)
        self._loss: Tensor | float = 0.0
        self._count: Tensor | int = 0

    @torch.no_grad()
    def update(self, output: Any, batch: Batch) -> None:
        """Take in the output for the next batch.

        What a metric raises is kept until that metric is asked for.

        Raises:
            Exception: The loss raised.
        """
        loss = self._objective.loss(output, batch.compared).detach().double()
        count = token_count(output, batch.compared) if self._counts_tokens else batch.rows
        if isinstance(count, Tensor):  # the mean over nothing is NaN, and adds nothing
            loss = torch.where(count > 0, loss, torch.zeros_like(loss))
        self._loss += loss * count
        self._count += count
        for index, accumulator in enumerate(self._accumulators):
            if isinstance(accumulator, Exception):
                continue
            try:
                accumulator.update(output, batch.compared)
            except MetricError as error:
                self._accumulators[index] = error

    @property
    def loss(self) -> float:
        """The mean loss over the rows so far, or over the class numbers that count."""
        return float(self._loss) / float(self._count) if self._count else math.nan

    def metric(self, index: int = 0) -> float:
        """Return one of the metrics over all batches so far.

        Args:
            index: Which one; the first is that which is searched by.

        Raises:
            MetricError: The metric raised or gave no number.
        """
        accumulator = self._accumulators[index]
        if isinstance(accumulator, Exception):
            raise accumulator
        return accumulator.result()


def concatenate_outputs(outputs: list[Any]) -> Any:
    """Return batches of outputs joined, tensor by tensor."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if isinstance(first, Mapping):
        return {key: concatenate_outputs([output[key] for output in outputs]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(concatenate_outputs(list(batches)) for batches in zip(*outputs, strict=True))
    raise ModelError(
        f"the model returned {describe_type(first)}: it must return a tensor, or a tuple or "
        "mapping of tensors."
    )


def _to_float32(output: Any) -> Any:
    """Return an output with its half-precision tensors as float32."""
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if is_dataclass(output) and not isinstance(output, type):
        # Such as a Hugging Face ModelOutput, whose parts losses and metrics ask for by name.
        parts = {part.name: _to_float32(getattr(output, part.name)) for part in fields(output)}
        return replace(output, **parts)
    if isinstance(output, Mapping):
        return {key: _to_float32(value) for key, value in output.items()}
    if isinstance(output, tuple | list):
        return tuple(_to_float32(value) for value in output)
    return output
