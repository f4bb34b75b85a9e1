"""Losses: what training minimises; a scalar, the mean over the batch.

By default cross-entropy for classes and squared error for quantities (standardised ones, see
`data.target`). A user's own is a function `(output, targets) -> scalar tensor`.

Entry points: `LOSSES`, `load_loss`, `is_own_loss`, `align_to_targets`; `has_single_logits`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data.dataset import Task
from ..errors import MetricError, look_up
from ..user_code import load_object

LossFunction = Callable[[Any, Any], Tensor]
"""`(output of the model, targets) -> scalar tensor`."""


def cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy, of logits on axis 1 or of one logit for each target.

    Args:
        output: `[n, classes, ...]`; or one logit for yes or no, of the targets' shape.
        targets: Class numbers `[n, ...]` (-100 is left out), 0 and 1 for single logits, or shares
            of the output's shape in floating point.
    """
    if has_single_logits(output, targets):
        logits = output.reshape(targets.shape)
        return nn.functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
    return nn.functional.cross_entropy(output, targets)


def has_single_logits(output: Tensor, targets: Tensor) -> bool:
    """Return whether an output has one logit for each target, instead of one for each class."""
    return not targets.is_floating_point() and _equal_without_singletons(output, targets)


LOSSES: dict[str, tuple[Task, LossFunction]] = {
    "cross_entropy": (Task.CLASSIFICATION, cross_entropy),
    "mse": (Task.REGRESSION, nn.functional.mse_loss),
    "mae": (Task.REGRESSION, nn.functional.l1_loss),
    "huber": (Task.REGRESSION, nn.functional.huber_loss),
}
"""Built-in losses by name, with the task that each fits."""


def load_loss(loss: str | LossFunction | None, task: Task, base: Path) -> tuple[str, LossFunction]:
    """Return the name and function of a loss.

    Args:
        loss: A name in `LOSSES`, a reference, a function, or None for the task's own.
        task: What the data asks for.
        base: The folder of the spec.

    Raises:
        MetricError: No such loss, or it does not fit the task.
        ImportFailure: The reference leads nowhere.
    """
    if loss is None:
        loss = "cross_entropy" if task == Task.CLASSIFICATION else "mse"
    if not isinstance(loss, str):
        return getattr(loss, "__name__", type(loss).__name__), loss
    if ":" in loss:
        return loss, load_object(loss, base)
    loss_task, function = look_up(
        "loss",
        loss,
        LOSSES,
        choices=f"one of {', '.join(LOSSES)}, or name a function as FILE.py:name",
        error=MetricError,
    )
    if loss_task != task:
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
