"""Losses: what training minimises; a scalar, the mean over the batch.

By default cross-entropy for classes and squared error for quantities (standardised ones, see
`data.target`). A user's own is a function `(output, targets) -> scalar tensor`.

Entry points: `LOSSES`, `load_loss`, `align_to_targets`.
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

LOSSES: dict[str, tuple[Task, LossFunction]] = {
    "cross_entropy": (Task.CLASSIFICATION, nn.functional.cross_entropy),
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


def align_to_targets(output: Any, targets: Tensor, task: Task) -> Any:
    """Return the output in the targets' shape where only axes of length one differ.

    An output `[rows, 1]` beside targets `[rows]` would silently broadcast to `[rows, rows]`.
    Outputs of classes, and outputs of other sizes, are left as they are.
    """
    may_broadcast = (
        task == Task.REGRESSION and isinstance(output, Tensor) and output.shape != targets.shape
    )
    return (
        output.reshape(targets.shape)
        if may_broadcast and _equal_without_singletons(output, targets)
        else output
    )


def _equal_without_singletons(output: Tensor, targets: Tensor) -> bool:
    return [size for size in output.shape if size != 1] == [
        size for size in targets.shape if size != 1
    ]
