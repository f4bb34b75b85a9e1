"""Metrics as a study has them: some are a matter of its loss, others of what its targets mean.

Entry points: `default_metric`, `bind_loss`, `bind_targets`.
"""

from dataclasses import replace
from typing import Any

from torch import Tensor

from ..data.dataset import Task
from ..data.streams.samples import has_class_shares, has_label_columns
from .losses import MODEL_LOSS, LossFunction, cross_entropy, model_loss
from .measures.accumulate import SummedMeasure, WholeMeasure, with_targets
from .measures.mean_loss import mean_loss, mean_loss_of_tokens, perplexity_of_loss
from .measures.outputs import class_targets, largest_share
from .metrics import METRICS, Metric


def default_metric(
    task: Task | None, loss_name: str = "", targets: Any = None, loss: LossFunction = model_loss
) -> Metric:
    """Return accuracy for classes, r2 for quantities, else the validation loss itself.

    Args:
        task: Of the data; None where it is not known.
        loss_name: "model" where the model's forward gives the loss, which is the metric, too.
        targets: Of a batch, where the data come in batches: several, or none, have no metric but
            the loss.
        loss: The function.
    """
    has_one_tensor = targets is None or isinstance(targets, Tensor)
    if task is None or loss_name == MODEL_LOSS or not has_one_tensor:
        return bind_loss(METRICS["loss"], loss_name, loss)
    return METRICS["accuracy" if task == Task.CLASSIFICATION else "r2"]


def bind_loss(metric: Metric, loss_name: str, loss: LossFunction) -> Metric:
    """Return a metric that knows the study's loss, where it is a matter of that.

    That is `loss`, the mean validation loss, and the `perplexity` of a model that gives its loss
    itself: it has shifted its targets in its own way.

    Args:
        metric: Any.
        loss_name: Of the loss.
        loss: The function.
    """
    if metric is METRICS["loss"]:
        mean = mean_loss_of_tokens if loss is cross_entropy else mean_loss
        return replace(metric, function=mean(loss))
    if metric is METRICS["perplexity"] and loss_name == MODEL_LOSS:
        return replace(metric, function=perplexity_of_loss(loss), task=None)
    return metric


def bind_targets(metric: Metric, targets: Any) -> Metric:
    """Return a built-in metric of classes that reads floating targets as the loss does.

    Of shares of the classes the largest is the class, but for cross-entropy and perplexity, which
    are of shares; columns of yes and no are labels for these two as well.

    Args:
        metric: Any.
        targets: Of a batch of the training data.
    """
    if metric.task != Task.CLASSIFICATION:
        return metric
    assert isinstance(metric.function, SummedMeasure | WholeMeasure)  # all that have a task
    of_shares = metric.name in ("cross_entropy", "perplexity")
    if has_label_columns(targets):
        return replace(metric, function=with_targets(metric.function, class_targets))
    if has_class_shares(targets) and not of_shares:
        return replace(metric, function=with_targets(metric.function, largest_share))
    return metric
