"""One batch's way through a dense network and back, in compiled code that interprets its table.

Products of matrices are BLAS's (numpy.dot); all else is loops that vectorise.

Entry points: `forward`, `backward`, `matrix`, `copy`, `room_to_turn`.
"""

from typing import Any

import numpy as np
from numba import njit

from ...model import keyed_dropout
from .activations import bend, rectify, unrectify
from .norms import (
    apply_running,
    normalise_batch,
    normalise_rows,
    rescale,
    unnormalise_batch,
    unnormalise_rows,
    unscale,
)
from .program import Column, Kind, Space, plain

_SMALL_PRODUCT = 1_000_000
"""Most multiplications of a product that OpenBLAS computes without first copying its factors.

Copying makes it a third slower at these sizes: a large product is taken in blocks of rows.
"""

MOST_TURNED, FEW_ROWS = 10_000, 48
"""Numbers of the largest weight, and most rows, that are worth transposing for a product (measured:
at 32 rows and 128 x 128, 11 us instead of 15 as it is and 19 with the weight transposed)."""

_mix = njit(nogil=True)(keyed_dropout.mix)
_GOLDEN = keyed_dropout.GOLDEN


@plain
def matrix(flat: Any, start: int, rows: int, width: int) -> Any:
    """Return rows x width of a flat array, from a place on."""
    return flat[start : start + rows * width].reshape(rows, width)


def room_to_turn(widest: int) -> int:
    """Return the numbers that a product may transpose, of networks with layers so wide."""
    return max(MOST_TURNED, 2 * FEW_ROWS * widest)


@plain
def copy(x: Any, y: Any) -> None:
    """Copy a flat array; assigning slices would compile numba's error messages, for seconds."""
    for i in range(len(x)):
        y[i] = x[i]


@plain
def _multiply(a: Any, b: Any, out: Any) -> None:
    """Put the product of two matrices into out, some rows at a time."""
    step = max(8, _SMALL_PRODUCT // max(1, b.size))
    if step >= len(a):
        np.dot(a, b, out)
    else:
        for start in range(0, len(a), step):
            np.dot(a[start : start + step], b, out[start : start + step])


@plain
def _turn(a: Any, b: Any) -> None:
    """Put a matrix's transpose into b."""
    for row in range(len(b)):
        for j in range(b.shape[1]):
            b[row, j] = a[j, row]


@plain
def _multiply_turned(a: Any, b: Any, turned: Any, out: Any) -> None:
    """Put a times b, transposed, into out: in the quickest of three ways.

    OpenBLAS reads a transposed factor slowly. A small b is transposed before; beside few rows, a
    and the product are instead, which are smaller than a large b.

    Args:
        a: rows x m.
        b: n x m.
        turned: Flat workspace of `room_to_turn` numbers.
        out: rows x n.
    """
    rows, size = len(a), len(a) * a.shape[1]
    if b.size <= MOST_TURNED:
        copy = turned[: b.size].reshape(b.shape[1], b.shape[0])
        _turn(b, copy)
        _multiply(a, copy, out)
    elif rows <= FEW_ROWS:
        copy = turned[:size].reshape(a.shape[1], rows)
        product = turned[size : size + rows * len(b)].reshape(len(b), rows)
        _turn(a, copy)
        _multiply(b, copy, product)
        _turn(product, out)
    else:
        np.dot(a, b.T, out)


@plain
def _mask(key: Any, threshold: int, scale: Any, mask: Any) -> None:
    """Put 0 where a place is dropped and the scale elsewhere; see `dropout`."""
    for row in range(len(mask)):
        word = _mix(key + row * _GOLDEN)
        for j in range(mask.shape[1]):
            dropped = (_mix(word + j * _GOLDEN) & 0x7FFFFFFF) < threshold
            mask[row, j] = 0 if dropped else scale


@plain
def _drop(x: Any, mask: Any) -> None:
    """Multiply x by the mask; a mask of 0 gives 0 even for infinity."""
    for i in range(len(x)):
        x[i] = mask[i] if mask[i] == 0 else x[i] * mask[i]


@plain
def forward(
    table: Any,
    numbers: Any,
    rows: int,
    parameters: Any,
    statistics: Any,
    keys: Any,
    space: Space,
    training: bool,
) -> None:
    """Compute the output of every operation for the rows that lie in buffer 0.

    Args:
        table: operations x columns.
        numbers: operations x 2: eps or slope or scale; momentum.
        rows: In this batch.
        parameters: Flat.
        statistics: Flat; those of batch normalisation.
        keys: One of each dropout layer, in order.
        space: Workspace; its `room` begins with the rows.
        training: Else evaluation mode.
    """
    room, dropouts = space.room, 0
    for place in range(len(table)):
        op, number = table[place], numbers[place]
        width = op[Column.OUTPUTS]
        size, weight, bias = rows * width, op[Column.WEIGHT], op[Column.BIAS]
        y = matrix(room, op[Column.TARGET] * rows, rows, width)
        x = matrix(room, op[Column.SOURCE] * rows, rows, op[Column.INPUTS])
        kept = room[op[Column.KEPT] * rows : op[Column.KEPT] * rows + size]
        if op[Column.KIND] == Kind.LINEAR:
            _multiply(x, matrix(parameters, weight, op[Column.INPUTS], width), y)
            if bias >= 0:
                shift = parameters[bias : bias + width]
                for row in range(rows):
                    for j in range(width):
                        y[row, j] += shift[j]
        elif op[Column.KIND] <= Kind.LAYER_NORM:
            z = kept.reshape(rows, width)
            if op[Column.KIND] == Kind.LAYER_NORM:
                end = op[Column.KEPT] * rows + size
                normalise_rows(x, z, number[0], room[end : end + rows])
            else:
                running = matrix(statistics, op[Column.STATISTICS], 3, width)
                if training:
                    normalise_batch(x, z, number[0], number[1], running, space.scratch)
                else:
                    apply_running(x, z, number[0], running)
            gain = parameters[weight : weight + width]
            rescale(z, gain, parameters[bias : bias + width], y)
        else:
            flat = y.reshape(size)
            if op[Column.TARGET] != op[Column.SOURCE]:
                copy(x.reshape(size), flat)
            if op[Column.KIND] == Kind.RECTIFIER:
                rectify(flat, number[0])
            elif op[Column.KIND] == Kind.SMOOTH:
                bend(op[Column.OPTION], number[0], flat, kept, space)
            elif training:
                _mask(keys[dropouts], op[Column.OPTION], number[0], kept.reshape(rows, width))
                _drop(flat, kept)
                dropouts += 1


@plain
def backward(
    table: Any,
    numbers: Any,
    rows: int,
    parameters: Any,
    gradients: Any,
    statistics: Any,
    space: Space,
) -> None:
    """Put the gradients of all parameters into place, from the gradient of the last output.

    Args:
        table: As in `forward`, like what is not named here.
        numbers: Likewise.
        rows: Likewise.
        parameters: Flat.
        gradients: Like the parameters.
        statistics: As `forward` left them.
        space: As `forward` left it; `deltas` begins with the gradient of the last output.
    """
    room, here, there = space.room, space.deltas[0], space.deltas[1]
    first = 0
    while table[first, Column.WEIGHT] < 0:
        first += 1
    for place in range(len(table) - 1, first - 1, -1):
        op, number = table[place], numbers[place]
        width, inputs = op[Column.OUTPUTS], op[Column.INPUTS]
        size, weight, bias = rows * width, op[Column.WEIGHT], op[Column.BIAS]
        flat = here[:size]
        delta = flat.reshape(rows, width)
        kept = room[op[Column.KEPT] * rows : op[Column.KEPT] * rows + size]
        if op[Column.KIND] == Kind.LINEAR:
            x = matrix(room, op[Column.SOURCE] * rows, rows, inputs)
            np.dot(x.T, delta, matrix(gradients, weight, inputs, width))
            if bias >= 0:
                shift = gradients[bias : bias + width]
                shift[:] = 0
                for row in range(rows):
                    for j in range(width):
                        shift[j] += delta[row, j]
            if place > first:
                before = matrix(there, 0, rows, inputs)
                weights = matrix(parameters, weight, inputs, width)
                _multiply_turned(delta, weights, space.turned, before)
                here, there = there, here
        elif op[Column.KIND] <= Kind.LAYER_NORM:
            z = kept.reshape(rows, width)
            gain = parameters[weight : weight + width]
            shift = gradients[bias : bias + width]
            unscale(delta, z, gain, gradients[weight : weight + width], shift)
            if op[Column.KIND] == Kind.LAYER_NORM:
                end = op[Column.KEPT] * rows + size
                unnormalise_rows(delta, z, room[end : end + rows])
            else:
                running = matrix(statistics, op[Column.STATISTICS], 3, width)
                unnormalise_batch(delta, z, running, space.scratch)
        elif op[Column.KIND] == Kind.RECTIFIER:
            unrectify(flat, room[op[Column.TARGET] * rows :], number[0])
        elif op[Column.KIND] == Kind.SMOOTH:
            for i in range(size):
                flat[i] *= kept[i]
        else:
            _drop(flat, kept)
