"""Losses in compiled code: the mean over a batch, and its gradient.

Entry point: `loss_and_gradient`.
"""

from typing import Any

import numpy as np

from .activations import exp_inplace
from .program import LossKind, TrainingArrays, Workspace, jit


@jit
def loss_and_gradient(
    arrays: TrainingArrays, batch_rows: Any, outputs: Any, gradient: Any, workspace: Workspace
) -> float:
    """Return a batch's loss, and write its gradient with respect to the outputs.

    Args:
        arrays: Loss and targets.
        batch_rows: The batch's row numbers.
        outputs: rows x columns.
        gradient: rows x columns; written.
        workspace: Memory for intermediate results.
    """
    if arrays.loss == LossKind.CROSS_ENTROPY:
        return _cross_entropy(arrays.labels, batch_rows, outputs, gradient, workspace)
    rows, columns = outputs.shape
    count, total = np.float64(rows * columns), 0.0
    for row in range(rows):
        for j in range(columns):
            error = np.float64(outputs[row, j]) - arrays.targets[batch_rows[row], j]
            distance = abs(error)
            sign = error if error == 0 or error != error else error / distance
            if arrays.loss == LossKind.MSE:
                total += error * error
                gradient[row, j] = 2 * error / count
            elif arrays.loss == LossKind.MAE:
                total += distance
                gradient[row, j] = sign / count
            else:  # Huber's, with torch's default bend at an error of 1
                total += 0.5 * error * error if distance < 1 else distance - 0.5
                gradient[row, j] = (error if distance < 1 else sign) / count
    return total / count


@jit
def _cross_entropy(
    labels: Any, batch_rows: Any, outputs: Any, gradient: Any, workspace: Workspace
) -> float:
    rows, columns = outputs.shape
    flat = workspace.scratch[0, : rows * columns]
    exponentials = flat.reshape(rows, columns)
    total: float = 0.0
    for row in range(rows):
        largest = outputs[row, 0]
        for j in range(columns):
            largest = outputs[row, j] if outputs[row, j] > largest else largest
        for j in range(columns):
            exponentials[row, j] = outputs[row, j] - largest
        total -= exponentials[row, labels[batch_rows[row]]]
    exp_inplace(flat, workspace)
    for row in range(rows):
        row_sum = 0.0
        for j in range(columns):
            row_sum += exponentials[row, j]
        total += np.log(row_sum)
        scale = 1 / (row_sum * rows)
        for j in range(columns):
            gradient[row, j] = exponentials[row, j] * scale
        gradient[row, labels[batch_rows[row]]] -= 1 / rows
    return float(total / rows)
