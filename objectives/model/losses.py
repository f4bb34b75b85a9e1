"""Losses: what training minimises; a scalar, the mean over the batch.

By default cross-entropy for classes and squared error for quantities (standardised ones, see
`data.target`). A user's own is a function `(output, targets) -> scalar tensor`; of batches without
targets it gets `(output, batch)`. "model" takes the loss that the model's forward pass returns.

Entry points: `LOSSES`, `load_loss`, `is_own_loss`, `model_loss`; `align_to_targets`,
`has_single_logits`, `classes_on_axis_1`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data.dataset import Task
from ..errors import MetricError, describe_shape, describe_type, look_up
from ..user_code import load_object

LossFunction = Callable[[Any, Any], Tensor]
"""`(output of the model, targets) -> scalar tensor`."""

MODEL_LOSS = "model"
"""The spec's word for the loss that the model's forward pass returns."""


def cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy, of logits on axis 1 or of one logit for each target.

    Args:
        output: `[n, classes, ...]`, or `[n, ..., classes]` where only that fits the targets; or one
            logit for yes or no, of the targets' shape.
        targets: Class numbers `[n, ...]` (-100 is left out), 0 and 1 for single logits, or shares
            of the output's shape in floating point (of one column: that of "yes").
    """
    has_one_column = targets.ndim == 1 or targets.shape[1] == 1
    if has_single_logits(output, targets) or (targets.is_floating_point() and has_one_column):
        return label_cross_entropy(output, targets)
    return nn.functional.cross_entropy(classes_on_axis_1(output, targets), targets)


def label_cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of one logit for each label.

    Args:
        output: Logits, as many as targets.
        targets: 0 and 1 in any type, `[n, k, ...]`.
    """
    logits = output.reshape(targets.shape)
    return nn.functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))


def has_single_logits(output: Tensor, targets: Tensor) -> bool:
    """Return whether an output has one logit for each target, instead of one for each class."""
    return not targets.is_floating_point() and _equal_without_singletons(output, targets)


def classes_on_axis_1(output: Tensor, targets: Tensor) -> Tensor:
    """Return logits `[n, classes, ...]`; of those that have the classes last, the axis is moved.

    Where both would fit, as with as many positions as classes, axis 1 has the classes, as in torch.

    Args:
        output: Logits.
        targets: Class numbers `[n, ...]`.
    """
    if (
        targets.ndim > 1
        and output.ndim == targets.ndim + 1
        and output.shape[2:] != targets.shape[1:]
        and output.shape[:-1] == targets.shape
    ):
        return output.movedim(-1, 1)
    return output


def model_loss(output: Any, targets: Any = None) -> Tensor:  # noqa: ARG001
    """Return the loss that a model's forward pass gave with its output.

    It is the output's `loss`, as of a mapping or an object, else the first value of a tuple that
    is a scalar tensor, else the output itself where that is a scalar tensor.

    Args:
        output: Of the model.
        targets: The model has seen them.

    Raises:
        MetricError: The output has no such loss.
    """
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if loss is None and isinstance(output, Tensor):
        loss = output
    elif loss is None and isinstance(output, tuple | list) and output:
        loss = output[0]
    if isinstance(loss, Tensor) and loss.numel() == 1:
        return loss.reshape(())
    finding = (
        f"returns {describe_type(output)} without one"
        if loss is None
        else f"gives {describe_shape(loss)} for it"
        if isinstance(loss, Tensor)
        else f"gives {describe_type(loss)} for it"
    )
    raise MetricError(
        f'loss = "model" takes the loss that forward returns, the model {finding}: return a '
        "mapping or an object with `loss`, or a tuple that begins with it, a scalar tensor (a "
        "Hugging Face model gives it where the batch has `labels`)."
    )


LOSSES: dict[str, tuple[Task, LossFunction]] = {
    "cross_entropy": (Task.CLASSIFICATION, cross_entropy),
    "mse": (Task.REGRESSION, nn.functional.mse_loss),
    "mae": (Task.REGRESSION, nn.functional.l1_loss),
    "huber": (Task.REGRESSION, nn.functional.huber_loss),
}
"""Built-in losses by name, with the task that each fits."""


def load_loss(
    loss: str | LossFunction | None, task: Task | None, base: Path
) -> tuple[str, LossFunction]:
    """Return the name and function of a loss.

    Args:
        loss: A name in `LOSSES`, "model", a reference, a function, or None for the task's own.
        task: What the data asks for; None where that is not known.
        base: The folder of the spec.

    Raises:
        MetricError: No such loss, or it does not fit the task.
        ImportFailure: The reference leads nowhere.
    """
    if loss is None and task is None:
        raise MetricError(
            "there is no loss for data whose task is not known: write "
            f"loss = one of {', '.join(LOSSES)}, 'model' where forward returns its loss, or "
            "'FILE.py:name' of your own, or set task."
        )
    if loss is None:
        loss = "cross_entropy" if task == Task.CLASSIFICATION else "mse"
    if loss == MODEL_LOSS:
        return MODEL_LOSS, model_loss
    if not isinstance(loss, str):
        return getattr(loss, "__name__", type(loss).__name__), loss
    if ":" in loss:
        return loss, load_object(loss, base)
    loss_task, function = look_up(
        "loss",
        loss,
        LOSSES,
        choices=f"one of {', '.join(LOSSES)}, 'model', or name a function as FILE.py:name",
        error=MetricError,
    )
    if task is not None and loss_task != task:
        raise MetricError(
            f"loss '{loss}' is for a {loss_task}, the data asks for a {task}: choose one of "
            f"{', '.join(name for name, (other_task, _) in LOSSES.items() if other_task == task)}."
        )
    return loss, function


def is_own_loss(loss: str | None) -> bool:
    """Return whether a spec's loss is a function of the user's own."""
    return loss is not None and ":" in loss


def align_to_targets(output: Any, targets: Tensor, task: Task) -> Any:
    """Return the output in the targets' shape where only axes of length one differ.

    An output `[rows, 1]` beside targets `[rows]` would silently broadcast to `[rows, rows]`. Flat
    outputs `[rows, 256]` beside targets `[rows, 16, 16]` get their axes, too. Outputs of classes,
    and outputs of other sizes, are left as they are.
    """
    may_broadcast = (
        task == Task.REGRESSION and isinstance(output, Tensor) and output.shape != targets.shape
    )
    if may_broadcast and (
        _equal_without_singletons(output, targets)
        or (output.ndim == 2 < targets.ndim and output.numel() == targets.numel())
    ):
        return output.reshape(targets.shape)
    return output


def _equal_without_singletons(output: Tensor, targets: Tensor) -> bool:
    return [size for size in output.shape if size != 1] == [
        size for size in targets.shape if size != 1
    ]
