"""The dense engine's compiled code: whole epochs of one network's training, without Python.

A network is a table (see `program`), its parameters one flat array. The functions interpret the
table, so that one compilation for each type of number serves every depth and width.

Entry point: `CompiledKernels`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, final
from zlib import crc32

import numpy as np
from numba import njit

from ...model import keyed_dropout
from .losses import loss_and_gradient
from .passes import as_matrix, backward, copy_flat, forward
from .program import NUMBA_OPTIONS, Column, TrainingArrays, Workspace, jit


@jit
def _adamw_step(
    parameters: Any,
    gradients: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    learning_rate: float,
    decay: float,
    step: int,
) -> None:
    """Take one step of AdamW with torch's defaults (Loshchilov & Hutter, 2019).

    Args:
        parameters: Flat.
        gradients: Likewise.
        exp_avg: Moving average of the gradients.
        exp_avg_sq: Moving average of their squares.
        learning_rate: Step size.
        decay: Share by which every weight shrinks: rate x weight decay.
        step: From 1.
    """
    scalar = parameters.dtype.type
    rate1 = scalar(1 - 0.9)
    beta2, rate2 = scalar(0.999), scalar(1 - 0.999)
    step_size, weight_decay = scalar(learning_rate / (1 - 0.9**step)), scalar(decay)
    correction, eps = scalar(1 / np.sqrt(1 - 0.999**step)), scalar(1e-8)
    for i in range(len(parameters)):
        gradient = gradients[i]
        exp_avg[i] += rate1 * (gradient - exp_avg[i])
        exp_avg_sq[i] = exp_avg_sq[i] * beta2 + rate2 * gradient * gradient
        decayed = parameters[i] - weight_decay * parameters[i]
        parameters[i] = decayed - step_size * exp_avg[i] / (
            np.sqrt(exp_avg_sq[i]) * correction + eps
        )


def source_checksum(folder: Path = Path(__file__).parent) -> int:
    """Return a checksum of all compiled sources: those of a folder, and the keyed dropout's."""
    files = [*sorted(folder.glob("*.py")), Path(keyed_dropout.__file__)]
    return crc32(b"".join(file.read_bytes() for file in files))


def _make_train(checksum: int) -> Callable[..., float]:
    """Return the function to compile, `train`.

    numba's cache on disk notices a change of this file, and of the values that a function encloses:
    the checksum stands for the other files.
    """

    def train(
        table: Any,
        coefficients: Any,
        arrays: TrainingArrays,
        row_order: Any,
        batch_ends: Any,
        dropout_keys: Any,
        step: int,
        group_ends: Any,
        rates: Any,
        rate_factors: Any,
        state: Any,
        statistics: Any,
        workspace: Workspace,
        resume_total: float,
        training: bool,
    ) -> float:
        """Train a network on batches and return the sum of the losses of their rows.

        Args:
            table: operations x columns.
            coefficients: operations x 2.
            arrays: The training data.
            row_order: Row numbers of all batches, one batch after the other.
            batch_ends: Where each batch ends.
            dropout_keys: batches x dropout layers.
            step: Updates so far.
            group_ends: Where each group of parameters ends.
            rates: groups x 2: step size, and step size x weight decay.
            rate_factors: What both are multiplied by in each batch.
            state: 4 x parameters: values, gradients and the two moments.
            statistics: Flat; those of batch normalisation.
            workspace: Memory for activations and gradients.
            resume_total: The sum of the losses so far, to be added to.
            training: True; a constant would have `forward` compiled once more for it.
        """
        _ = checksum
        parameters, gradients, exp_avg, exp_avg_sq = state[0], state[1], state[2], state[3]
        input_width, output_width = table[0, Column.INPUTS], table[-1, Column.OUTPUTS]
        total, start = resume_total, 0
        for batch in range(len(batch_ends)):
            batch_rows = row_order[start : batch_ends[batch]]
            start, rows = batch_ends[batch], len(batch_rows)
            batch_inputs = as_matrix(workspace.buffers, 0, rows, input_width)
            for row in range(rows):
                for j in range(input_width):
                    batch_inputs[row, j] = arrays.inputs[batch_rows[row], j]
            forward(
                table,
                coefficients,
                rows,
                parameters,
                statistics,
                dropout_keys[batch],
                workspace,
                training,
            )
            batch_outputs = as_matrix(
                workspace.buffers, table[-1, Column.TARGET] * rows, rows, output_width
            )
            gradient = as_matrix(workspace.deltas[0], 0, rows, output_width)
            total += rows * loss_and_gradient(
                arrays, batch_rows, batch_outputs, gradient, workspace
            )
            backward(table, coefficients, rows, parameters, gradients, statistics, workspace)
            begin = 0
            for group in range(len(group_ends)):
                end = group_ends[group]
                _adamw_step(
                    parameters[begin:end],
                    gradients[begin:end],
                    exp_avg[begin:end],
                    exp_avg_sq[begin:end],
                    rates[group, 0] * rate_factors[batch],
                    rates[group, 1] * rate_factors[batch],
                    step + batch + 1,
                )
                begin = end
        return total

    return train


def _make_evaluate(checksum: int) -> Callable[..., None]:
    """Return the function to compile, `evaluate`; see `_make_train`."""

    def evaluate(
        table: Any,
        coefficients: Any,
        inputs: Any,
        parameters: Any,
        statistics: Any,
        dropout_keys: Any,
        workspace: Workspace,
        batch_size: int,
        outputs: Any,
        training: bool,
    ) -> None:
        """Write a network's outputs for all rows, computed so many rows at once."""
        _ = checksum
        input_width, output_width = inputs.shape[1], outputs.shape[1]
        for start in range(0, len(inputs), batch_size):
            rows = min(batch_size, len(inputs) - start)
            copy_flat(inputs[start : start + rows].reshape(rows * input_width), workspace.buffers)
            forward(
                table, coefficients, rows, parameters, statistics, dropout_keys, workspace, training
            )
            offset = table[-1, Column.TARGET] * rows
            batch_outputs = outputs[start : start + rows].reshape(rows * output_width)
            copy_flat(workspace.buffers[offset : offset + rows * output_width], batch_outputs)

    return evaluate


@final
class CompiledKernels:
    """The compiled functions for one type of number.

    Compiling takes seconds, and its result is cached on disk; where that cannot be written or read
    (no folder, a full disk, a damaged file), it is compiled for this process alone.

    Attributes:
        train: See `_make_train`.
        evaluate: See `_make_evaluate`.
    """

    train: Callable[..., float]
    evaluate: Callable[..., None]

    def __init__(
        self,
        warm_up: Callable[["CompiledKernels"], object],
        compiler: Callable[..., Callable[[Any], Any]] = njit,
    ) -> None:
        """Compile.

        Args:
            warm_up: Calls both functions, with arguments of the types to compile for.
            compiler: numba's `njit`.
        """
        checksum = source_checksum()
        train, evaluate = _make_train(checksum), _make_evaluate(checksum)
        try:
            self.train = compiler(cache=True, **NUMBA_OPTIONS)(train)
            self.evaluate = compiler(cache=True, **NUMBA_OPTIONS)(evaluate)
            warm_up(self)
        except Exception:
            self.train = compiler(**NUMBA_OPTIONS)(train)
            self.evaluate = compiler(**NUMBA_OPTIONS)(evaluate)
            warm_up(self)
