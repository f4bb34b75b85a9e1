"""Forward and backward pass of a dense network, in compiled code that interprets its table.

Matrix products are BLAS's (numpy.dot); all else is loops that vectorise.

Entry points: `forward`, `backward`, `as_matrix`, `copy_flat`, `transpose_size`.
"""

from typing import Any

import numpy as np
from numba import njit

from ...model import keyed_dropout
from .activations import leaky_relu, leaky_relu_backward, smooth_activation
from .norms import (
    affine,
    affine_backward,
    batch_norm,
    batch_norm_backward,
    batch_norm_eval,
    layer_norm,
    layer_norm_backward,
)
from .program import Column, OpKind, Workspace, jit

_MAX_UNCOPIED_PRODUCT = 1_000_000
"""Most multiplications of a product that OpenBLAS computes without first copying its factors.

Copying makes it a third slower at these sizes: a large product is taken in blocks of rows.
"""

MAX_TRANSPOSED, MAX_TRANSPOSED_ROWS = 10_000, 48
"""Numbers of the largest weight, and most rows, that are worth transposing for a product (measured:
at 32 rows and 128 x 128, 11 us instead of 15 as it is and 19 with the weight transposed)."""

_mix = njit(nogil=True)(keyed_dropout.hash_word)
_GOLDEN = keyed_dropout.GOLDEN_RATIO


@jit
def as_matrix(flat: Any, start: int, rows: int, width: int) -> Any:
    """Return rows x width of a flat array, from an offset on."""
    return flat[start : start + rows * width].reshape(rows, width)


def transpose_size(max_width: int) -> int:
    """Return the numbers that a product may have to transpose, for layers up to so wide."""
    return max(MAX_TRANSPOSED, 2 * MAX_TRANSPOSED_ROWS * max_width)


@jit
def copy_flat(x: Any, y: Any) -> None:
    """Copy a flat array; assigning slices compiles for seconds, for numba's error messages."""
    for i in range(len(x)):
        y[i] = x[i]


@jit
def _matmul(a: Any, b: Any, out: Any) -> None:
    """Write the product of two matrices to out, some rows at a time."""
    step = max(8, _MAX_UNCOPIED_PRODUCT // max(1, b.size))
    if step >= len(a):
        np.dot(a, b, out)
    else:
        for start in range(0, len(a), step):
            np.dot(a[start : start + step], b, out[start : start + step])


@jit
def _transpose(a: Any, b: Any) -> None:
    """Write the transpose of a matrix to b."""
    for row in range(len(b)):
        for j in range(b.shape[1]):
            b[row, j] = a[j, row]


@jit
def _matmul_transposed(a: Any, b: Any, workspace: Any, out: Any) -> None:
    """Write a times the transpose of b to out, in the fastest of three ways.

    OpenBLAS reads a transposed factor slowly. A small b is transposed first; where there are few
    rows, a and the product are transposed instead, being smaller than a large b.

    Args:
        a: rows x m.
        b: n x m.
        workspace: Flat workspace of `transpose_size` numbers.
        out: rows x n.
    """
    rows, size = len(a), len(a) * a.shape[1]
    if b.size <= MAX_TRANSPOSED:
        transposed = workspace[: b.size].reshape(b.shape[1], b.shape[0])
        _transpose(b, transposed)
        _matmul(a, transposed, out)
    elif rows <= MAX_TRANSPOSED_ROWS:
        transposed = workspace[:size].reshape(a.shape[1], rows)
        product = workspace[size : size + rows * len(b)].reshape(len(b), rows)
        _transpose(a, transposed)
        _matmul(b, transposed, product)
        _transpose(product, out)
    else:
        np.dot(a, b.T, out)


@jit
def _fill_dropout_mask(key: Any, threshold: int, scale: Any, mask: Any) -> None:
    """Write 0 where a number is dropped, and the scale elsewhere; see `keyed_dropout`."""
    for row in range(len(mask)):
        row_key = _mix(key + row * _GOLDEN)
        for j in range(mask.shape[1]):
            dropped = (_mix(row_key + j * _GOLDEN) & 0x7FFFFFFF) < threshold
            mask[row, j] = 0 if dropped else scale


@jit
def _apply_mask(x: Any, mask: Any) -> None:
    """Multiply x by the mask; a mask of 0 gives 0 even for infinity."""
    for i in range(len(x)):
        x[i] = mask[i] if mask[i] == 0 else x[i] * mask[i]


@jit
def forward(
    table: Any,
    coefficients: Any,
    rows: int,
    parameters: Any,
    statistics: Any,
    dropout_keys: Any,
    workspace: Workspace,
    training: bool,
) -> None:
    """Compute the output of every operation for the rows that lie in buffer 0.

    Args:
        table: operations x columns.
        coefficients: operations x 2: eps or slope or scale; momentum.
        rows: Rows in this batch.
        parameters: Flat.
        statistics: Flat; those of batch normalisation.
        dropout_keys: A key for each dropout layer, in order.
        workspace: Its `buffers` begins with the rows.
        training: True for training, False for evaluation mode.
    """
    buffers, dropout_index = workspace.buffers, 0
    for index in range(len(table)):
        op, coefficient = table[index], coefficients[index]
        width = op[Column.OUTPUTS]
        size, weight, bias = rows * width, op[Column.WEIGHT], op[Column.BIAS]
        y = as_matrix(buffers, op[Column.TARGET] * rows, rows, width)
        x = as_matrix(buffers, op[Column.SOURCE] * rows, rows, op[Column.INPUTS])
        saved = buffers[op[Column.SAVED] * rows : op[Column.SAVED] * rows + size]
        if op[Column.KIND] == OpKind.LINEAR:
            _matmul(x, as_matrix(parameters, weight, op[Column.INPUTS], width), y)
            if bias >= 0:
                shift = parameters[bias : bias + width]
                for row in range(rows):
                    for j in range(width):
                        y[row, j] += shift[j]
        elif op[Column.KIND] <= OpKind.LAYER_NORM:
            z = saved.reshape(rows, width)
            if op[Column.KIND] == OpKind.LAYER_NORM:
                end = op[Column.SAVED] * rows + size
                layer_norm(x, z, coefficient[0], buffers[end : end + rows])
            else:
                running = as_matrix(statistics, op[Column.STATISTICS], 3, width)
                if training:
                    batch_norm(x, z, coefficient[0], coefficient[1], running, workspace.scratch)
                else:
                    batch_norm_eval(x, z, coefficient[0], running)
            gain = parameters[weight : weight + width]
            affine(z, gain, parameters[bias : bias + width], y)
        else:
            flat = y.reshape(size)
            if op[Column.TARGET] != op[Column.SOURCE]:
                copy_flat(x.reshape(size), flat)
            if op[Column.KIND] == OpKind.LEAKY_RELU:
                leaky_relu(flat, coefficient[0])
            elif op[Column.KIND] == OpKind.SMOOTH_ACTIVATION:
                smooth_activation(op[Column.OPTION], coefficient[0], flat, saved, workspace)
            elif training:
                _fill_dropout_mask(
                    dropout_keys[dropout_index],
                    op[Column.OPTION],
                    coefficient[0],
                    saved.reshape(rows, width),
                )
                _apply_mask(flat, saved)
                dropout_index += 1


@jit
def backward(
    table: Any,
    coefficients: Any,
    rows: int,
    parameters: Any,
    gradients: Any,
    statistics: Any,
    workspace: Workspace,
) -> None:
    """Write the gradients of all parameters, given the gradient of the last output.

    Args:
        table: As in `forward`.
        coefficients: As in `forward`.
        rows: As in `forward`.
        parameters: As in `forward`.
        gradients: Flat, as the parameters; written.
        statistics: As `forward` left them.
        workspace: As `forward` left it; `deltas` begins with the gradient of the last output.
    """
    buffers, grad_output, grad_input = workspace.buffers, workspace.deltas[0], workspace.deltas[1]
    first_parametrised = 0
    while table[first_parametrised, Column.WEIGHT] < 0:
        first_parametrised += 1
    for index in range(len(table) - 1, first_parametrised - 1, -1):
        op, coefficient = table[index], coefficients[index]
        width, inputs = op[Column.OUTPUTS], op[Column.INPUTS]
        size, weight, bias = rows * width, op[Column.WEIGHT], op[Column.BIAS]
        flat = grad_output[:size]
        delta = flat.reshape(rows, width)
        saved = buffers[op[Column.SAVED] * rows : op[Column.SAVED] * rows + size]
        if op[Column.KIND] == OpKind.LINEAR:
            x = as_matrix(buffers, op[Column.SOURCE] * rows, rows, inputs)
            np.dot(x.T, delta, as_matrix(gradients, weight, inputs, width))
            if bias >= 0:
                shift = gradients[bias : bias + width]
                shift[:] = 0
                for row in range(rows):
                    for j in range(width):
                        shift[j] += delta[row, j]
            if index > first_parametrised:
                input_delta = as_matrix(grad_input, 0, rows, inputs)
                weight_matrix = as_matrix(parameters, weight, inputs, width)
                _matmul_transposed(delta, weight_matrix, workspace.transposed, input_delta)
                grad_output, grad_input = grad_input, grad_output
        elif op[Column.KIND] <= OpKind.LAYER_NORM:
            z = saved.reshape(rows, width)
            gain = parameters[weight : weight + width]
            shift = gradients[bias : bias + width]
            affine_backward(delta, z, gain, gradients[weight : weight + width], shift)
            if op[Column.KIND] == OpKind.LAYER_NORM:
                end = op[Column.SAVED] * rows + size
                layer_norm_backward(delta, z, buffers[end : end + rows])
            else:
                running = as_matrix(statistics, op[Column.STATISTICS], 3, width)
                batch_norm_backward(delta, z, running, workspace.scratch)
        elif op[Column.KIND] == OpKind.LEAKY_RELU:
            leaky_relu_backward(flat, buffers[op[Column.TARGET] * rows :], coefficient[0])
        elif op[Column.KIND] == OpKind.SMOOTH_ACTIVATION:
            for i in range(size):
                flat[i] *= saved[i]
        else:
            _apply_mask(flat, saved)
