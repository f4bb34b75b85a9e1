"""Losses in compiled code: the mean over a batch, and its gradient.

Entry point: `loss_and_gradient`.
"""

from typing import Any

import numpy as np

from .activations import exponentiate
from .program import Loss, Problem, Space, plain


@plain
def loss_and_gradient(
    problem: Problem, chosen: Any, outputs: Any, gradient: Any, space: Space
) -> float:
    """Return a batch's loss, and put its gradient with respect to the outputs into place.

    Args:
        problem: Loss and targets.
        chosen: The batch's row numbers.
        outputs: rows x columns.
        gradient: Likewise.
        space: Workspace.
    """
    if problem.loss == Loss.CROSS_ENTROPY:
        return _cross_entropy(problem.labels, chosen, outputs, gradient, space)
    rows, columns = outputs.shape
    count, total = np.float64(rows * columns), 0.0
    for row in range(rows):
        for j in range(columns):
            error = np.float64(outputs[row, j]) - problem.targets[chosen[row], j]
            distance = abs(error)
            sign = error if error == 0 or error != error else error / distance
            if problem.loss == Loss.SQUARED:
                total += error * error
                gradient[row, j] = 2 * error / count
            elif problem.loss == Loss.ABSOLUTE:
                total += distance
                gradient[row, j] = sign / count
            else:  # Huber's, with torch's default bend at an error of 1
                total += 0.5 * error * error if distance < 1 else distance - 0.5
                gradient[row, j] = (error if distance < 1 else sign) / count
    return total / count


@plain
def _cross_entropy(labels: Any, chosen: Any, outputs: Any, gradient: Any, space: Space) -> float:
    rows, columns = outputs.shape
    flat = space.scratch[0, : rows * columns]
    powers = flat.reshape(rows, columns)
    total: float = 0.0
    for row in range(rows):
        largest = outputs[row, 0]
        for j in range(columns):
            largest = outputs[row, j] if outputs[row, j] > largest else largest
        for j in range(columns):
            powers[row, j] = outputs[row, j] - largest
        total -= powers[row, labels[chosen[row]]]
    exponentiate(flat, space)
    for row in range(rows):
        together = 0.0
        for j in range(columns):
            together += powers[row, j]
        total += np.log(together)
        scale = 1 / (together * rows)
        for j in range(columns):
            gradient[row, j] = powers[row, j] * scale
        gradient[row, labels[chosen[row]]] -= 1 / rows
    return float(total / rows)
