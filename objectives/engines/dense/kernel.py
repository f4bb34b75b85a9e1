"""The dense engine's compiled code: whole epochs of one network's training, without Python.

A network is a table (`dense_table`), its parameters one flat array. The functions interpret the
table, so that one compilation for each type of number serves every depth and width.

Entry point: `Compiled`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, final
from zlib import crc32

import numpy as np
from numba import njit

from ...model import keyed_dropout
from .losses import loss_and_gradient
from .passes import backward, copy, forward, matrix
from .program import COMPILE, Column, Problem, Space, plain


@plain
def _update(
    parameters: Any, gradients: Any, first: Any, second: Any, rate: float, decay: float, step: int
) -> None:
    """Take one step of AdamW with torch's defaults (Loshchilov & Hutter, 2019).

    Args:
        parameters: Flat.
        gradients: Likewise.
        first: Moving average of the gradients.
        second: Moving average of their squares.
        rate: Step size.
        decay: Share by which every weight shrinks: rate x weight decay.
        step: From 1.
    """
    number = parameters.dtype.type
    along = number(1 - 0.9)
    beta, rest = number(0.999), number(1 - 0.999)
    size, shrunk = number(rate / (1 - 0.9**step)), number(decay)
    root, eps = number(1 / np.sqrt(1 - 0.999**step)), number(1e-8)
    for i in range(len(parameters)):
        gradient = gradients[i]
        first[i] += along * (gradient - first[i])
        second[i] = second[i] * beta + rest * gradient * gradient
        value = parameters[i] - shrunk * parameters[i]
        parameters[i] = value - size * first[i] / (np.sqrt(second[i]) * root + eps)


def _revision() -> int:
    """Return a checksum of all compiled sources."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(keyed_dropout.__file__)]
    return crc32(b"".join(file.read_bytes() for file in files))


def _train_at(revision: int) -> Callable[..., float]:
    """Return the function to compile, `train`.

    numba's cache on disk notices a change of this file, and of what a function encloses: the
    revision stands for the other files.
    """

    def train(
        table: Any,
        numbers: Any,
        problem: Problem,
        order: Any,
        ends: Any,
        keys: Any,
        step: int,
        groups: Any,
        rates: Any,
        state: Any,
        statistics: Any,
        space: Space,
        so_far: float,
        training: bool,
    ) -> float:
        """Train a network on batches and return the sum of the losses of their rows.

        Args:
            table: operations x columns.
            numbers: operations x 2.
            problem: What to learn.
            order: Row numbers of all batches, one batch after the other.
            ends: Where each batch ends.
            keys: batches x dropout layers.
            step: Updates so far.
            groups: Where each group of parameters ends.
            rates: groups x 2: step size, and step size x weight decay.
            state: 4 x parameters: values, gradients and the two moments.
            statistics: Flat; those of batch normalisation.
            space: Workspace.
            so_far: The sum to go on from.
            training: True; a constant would have `forward` compiled once more for it.
        """
        _ = revision
        parameters, gradients, first, second = state[0], state[1], state[2], state[3]
        features, outputs = table[0, Column.INPUTS], table[-1, Column.OUTPUTS]
        total, start = so_far, 0
        for batch in range(len(ends)):
            chosen = order[start : ends[batch]]
            start, rows = ends[batch], len(chosen)
            drawn = matrix(space.room, 0, rows, features)
            for row in range(rows):
                for j in range(features):
                    drawn[row, j] = problem.inputs[chosen[row], j]
            forward(table, numbers, rows, parameters, statistics, keys[batch], space, training)
            found = matrix(space.room, table[-1, Column.TARGET] * rows, rows, outputs)
            gradient = matrix(space.deltas[0], 0, rows, outputs)
            total += rows * loss_and_gradient(problem, chosen, found, gradient, space)
            backward(table, numbers, rows, parameters, gradients, statistics, space)
            begin = 0
            for group in range(len(groups)):
                end = groups[group]
                _update(
                    parameters[begin:end],
                    gradients[begin:end],
                    first[begin:end],
                    second[begin:end],
                    rates[group, 0],
                    rates[group, 1],
                    step + batch + 1,
                )
                begin = end
        return total

    return train


def _evaluate_at(revision: int) -> Callable[..., None]:
    """Return the function to compile, `evaluate`; see `_train_at`."""

    def evaluate(
        table: Any,
        numbers: Any,
        inputs: Any,
        parameters: Any,
        statistics: Any,
        keys: Any,
        space: Space,
        at_once: int,
        outputs: Any,
        training: bool,
    ) -> None:
        """Put a network's outputs for all rows into place, so many rows at once."""
        _ = revision
        features, width = inputs.shape[1], outputs.shape[1]
        for start in range(0, len(inputs), at_once):
            rows = min(at_once, len(inputs) - start)
            copy(inputs[start : start + rows].reshape(rows * features), space.room)
            forward(table, numbers, rows, parameters, statistics, keys, space, training)
            place = table[-1, Column.TARGET] * rows
            found = outputs[start : start + rows].reshape(rows * width)
            copy(space.room[place : place + rows * width], found)

    return evaluate


@final
class Compiled:
    """The compiled functions for one type of number.

    Compiling takes seconds, and its result is kept on disk where that can be written and read;
    where it cannot (no folder, a full disk, a damaged file), it is compiled for this process.

    Attributes:
        train: See `_train_at`.
        evaluate: See `_evaluate_at`.
    """

    train: Callable[..., float]
    evaluate: Callable[..., None]

    def __init__(self, attempt: Callable[["Compiled"], object]) -> None:
        """Compile.

        Args:
            attempt: Calls both functions, with arguments of the types to compile for.
        """
        train, evaluate = _train_at(_revision()), _evaluate_at(_revision())
        try:
            self.train = njit(cache=True, **COMPILE)(train)
            self.evaluate = njit(cache=True, **COMPILE)(evaluate)
            attempt(self)
        except Exception:
            self.train, self.evaluate = njit(**COMPILE)(train), njit(**COMPILE)(evaluate)
            attempt(self)
