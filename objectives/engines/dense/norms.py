"""Normalisation in compiled code, forward and backward; sums are in float64.

Batch normalisation goes along columns, layer normalisation along rows:

    z = (x - mean) / sqrt(variance + eps),    y = gain · z + shift

Entry points: `batch_norm`, `batch_norm_backward`, `affine`, `layer_norm`,
`layer_norm_backward`.
"""

from typing import Any

import numpy as np

from .program import jit, jit_reassociated


@jit
def batch_norm(x: Any, z: Any, eps: Any, momentum: Any, statistics: Any, sums: Any) -> None:
    """Write normalised columns to z, and update the running statistics.

    Args:
        x: rows x width.
        z: rows x width; written.
        eps: Added to the variance.
        momentum: Share of this batch in the running statistics.
        statistics: 3 x width: running mean, running (unbiased) variance, last 1 / deviation.
        sums: Memory for sums, float64, 2 x at least width.
    """
    rows, width = x.shape
    mean, variance = sums[0, :width], sums[1, :width]
    mean[:] = 0.0
    variance[:] = 0.0
    for row in range(rows):
        for j in range(width):
            mean[j] += x[row, j]
    for j in range(width):
        mean[j] /= rows
    for row in range(rows):
        for j in range(width):
            variance[j] += (x[row, j] - mean[j]) ** 2
    for j in range(width):
        variance[j] /= rows
        statistics[0, j] += momentum * (mean[j] - statistics[0, j])
        unbiased = variance[j] * rows / (rows - 1)
        statistics[1, j] += momentum * (unbiased - statistics[1, j])
        statistics[2, j] = 1 / np.sqrt(variance[j] + eps)
    for row in range(rows):
        for j in range(width):
            z[row, j] = (x[row, j] - mean[j]) * statistics[2, j]


@jit
def batch_norm_backward(delta: Any, z: Any, statistics: Any, sums: Any) -> None:
    """Replace the gradient with respect to z by that with respect to x.

    dx = (dz - mean(dz) - z · mean(dz · z)) / deviation
    """
    rows, width = delta.shape
    mean, projection = sums[0, :width], sums[1, :width]
    mean[:] = 0.0
    projection[:] = 0.0
    for row in range(rows):
        for j in range(width):
            mean[j] += delta[row, j]
            projection[j] += delta[row, j] * z[row, j]
    for j in range(width):
        mean[j] /= rows
        projection[j] /= rows
    for row in range(rows):
        for j in range(width):
            delta[row, j] = (delta[row, j] - mean[j] - z[row, j] * projection[j]) * statistics[2, j]


@jit
def batch_norm_eval(x: Any, z: Any, eps: Any, statistics: Any) -> None:
    """Write columns normalised by the running statistics to z: evaluation mode."""
    for row in range(len(x)):
        for j in range(x.shape[1]):
            z[row, j] = (x[row, j] - statistics[0, j]) / np.sqrt(statistics[1, j] + eps)


@jit
def affine(z: Any, gain: Any, shift: Any, y: Any) -> None:
    """Write gain · z + shift to y, with a gain and a shift for each column."""
    for row in range(len(z)):
        for j in range(z.shape[1]):
            y[row, j] = z[row, j] * gain[j] + shift[j]


@jit
def affine_backward(delta: Any, z: Any, gain: Any, gain_gradient: Any, shift_gradient: Any) -> None:
    """Write the gradients of gain and shift, and replace y's gradient by z's."""
    gain_gradient[:] = 0
    shift_gradient[:] = 0
    for row in range(len(z)):
        for j in range(z.shape[1]):
            gain_gradient[j] += delta[row, j] * z[row, j]
            shift_gradient[j] += delta[row, j]
            delta[row, j] *= gain[j]


@jit_reassociated
def layer_norm(x: Any, z: Any, eps: Any, inverse_std: Any) -> None:
    """Write normalised rows to z, and 1 / deviation of every row to `inverse_std`."""
    width = x.shape[1]
    for row in range(len(x)):
        mean = 0.0
        for j in range(width):
            mean += x[row, j]
        mean /= width
        variance = 0.0
        for j in range(width):
            variance += (x[row, j] - mean) ** 2
        row_inverse_std = 1 / np.sqrt(variance / width + eps)
        inverse_std[row] = row_inverse_std
        for j in range(width):
            z[row, j] = (x[row, j] - mean) * row_inverse_std


@jit_reassociated
def layer_norm_backward(delta: Any, z: Any, inverse_std: Any) -> None:
    """Replace the gradient with respect to z by that with respect to x."""
    width = z.shape[1]
    for row in range(len(z)):
        mean, projection = 0.0, 0.0
        for j in range(width):
            mean += delta[row, j]
            projection += delta[row, j] * z[row, j]
        mean /= width
        projection /= width
        for j in range(width):
            delta[row, j] = (delta[row, j] - mean - z[row, j] * projection) * inverse_std[row]
