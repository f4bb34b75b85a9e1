"""What a built-in metric reads of a model's output and of the targets: one tensor each.

Models of libraries give tuples, mappings and objects with their logits in them.

Entry points: `prediction_tensor`, `target_tensor`, `class_targets`, `largest_share`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import MetricError, describe_shape, describe_type

_NAMES = ("logits", "predictions", "prediction", "output", "outputs")
"""What models call what they predict, the usual first."""


def prediction_tensor(output: Any) -> Tensor:
    """Return what a model predicts: its output, or the one in a tuple, mapping or object.

    That is what is called `logits` (or predictions, output), else the first tensor that is no
    scalar: a model that returns its loss returns it first.

    Raises:
        MetricError: There is none.
    """
    if isinstance(output, Tensor):
        return output
    for name in _NAMES:
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    values: Iterable[Any] = ()
    if isinstance(output, Mapping):
        values = output.values()
    elif isinstance(output, tuple | list):
        values = output
    for value in values:
        if isinstance(value, Tensor) and value.ndim > 0:
            return value
    raise MetricError(
        f"a built-in metric needs one tensor of predictions, the model returns "
        f"{describe_type(output)}: call it `logits`, or give a metric of your own."
    )


def target_tensor(targets: Any) -> Tensor:
    """Return the targets, which must be one tensor.

    Raises:
        MetricError: They are not.
    """
    if isinstance(targets, Tensor):
        return targets
    if isinstance(targets, Mapping) and len(targets) == 1:
        return target_tensor(next(iter(targets.values())))
    finding = "the batches have none" if targets is None else f"found {describe_type(targets)}"
    raise MetricError(
        f"a built-in metric needs one tensor of targets, {finding}: give a metric of your own "
        "(outputs, targets), or `loss`, the validation loss itself."
    )


def class_targets(targets: Any) -> Tensor:
    """Return class numbers, or yes and no, as int64: of floats they must be 0 and 1.

    Raises:
        MetricError: They are fractions, or no tensor.
    """
    tensor = target_tensor(targets)
    if tensor.is_floating_point() and bool(((tensor != 0) & (tensor != 1)).any()):
        raise MetricError(
            f"the targets {describe_shape(tensor)} are fractions, and this metric counts classes: "
            "give class numbers, or 0 and 1 for no and yes."
        )
    return tensor if tensor.dtype == torch.int64 else tensor.long()


def largest_share(targets: Any) -> Tensor:
    """Return the class numbers `[n, ...]` of shares of the classes on axis 1, one-hot or smoothed.

    Raises:
        MetricError: They are no tensor.
    """
    return target_tensor(targets).argmax(dim=1)
