"""The dense engine's compiled code: whole epochs of one network's training, without Python.

A network is a table with a row for each operation (see `Column`), its parameters one flat array.
The functions interpret the table, so that one compilation serves every depth and width. Products
of matrices are BLAS's (numpy.dot); all else is loops that vectorise. Everything compiled stands in
this file, because numba's cache on disk notices a change of this file alone.

`contract` lets a product and a sum become one instruction, `reassoc` lets a sum be vectorised;
neither supposes that numbers are finite: NaN and infinity travel as they do in torch.

Entry points: `train_batches`, `evaluate`; `Kind`, `Column` and `Loss` give the tables their meaning.
"""

import math
from enum import IntEnum
from typing import Any

import numpy as np
from numba import njit
from scipy.special import erfcx

from .. import dropout


class Kind(IntEnum):
    """What an operation does."""

    LINEAR = 0
    BATCH_NORM = 1
    LAYER_NORM = 2
    RECTIFIER = 3
    SMOOTH = 4
    DROPOUT = 5


class Smooth(IntEnum):
    """Activations whose slope is kept from the forward pass."""

    SIGMOID = 0
    SILU = 1
    TANH = 2
    ELU = 3
    GELU = 4


class Loss(IntEnum):
    """What is minimised, the mean over all numbers in a batch."""

    CROSS_ENTROPY = 0
    SQUARED = 1
    ABSOLUTE = 2
    HUBER = 3


class Column(IntEnum):
    """Columns of the table of operations.

    A buffer at c begins at c × rows of the workspace, so that a table fits every batch size.
    """

    KIND = 0
    INPUTS = 1  # numbers a row
    OUTPUTS = 2
    SOURCE = 3  # buffer of its input
    TARGET = 4  # buffer of its output; the source's where it works in place
    KEPT = 5  # buffer of what its backward pass needs: normalised values, slopes or a mask
    WEIGHT = 6  # place among the parameters; -1 for none
    BIAS = 7
    STATISTICS = 8  # place of running mean, running variance and last 1 / deviation
    OPTION = 9  # which smooth activation; for dropout, the threshold of its hash


_plain = njit(nogil=True, error_model="numpy", fastmath={"contract"})
_summing = njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
_mix = njit(nogil=True)(dropout.mix)

_CHUNK = 512
"""Numbers whose exponentials are taken at once: small enough for the nearest cache."""

_MAGIC = 1.5 * 2.0**52
"""Added to a float64, rounds it to a whole number that stands in the lowest bits."""

_NORMAL_PEAK = 1 / math.sqrt(2 * math.pi)

_LOG2_E, _LN2_HIGH = 1 / math.log(2), 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
"""ln 2 = high + low, high with 32 bits only: its products with small whole numbers are exact."""

_SERIES = tuple(1 / math.factorial(power) for power in range(14))

_BEND = 4.0


def _scaled_tail(w: Any) -> Any:
    """Return P(X > t) · exp(t² / 2), X normal, for w = 2 · bend / (bend + t) - 1, in (-1, 1]."""
    t = _BEND * (1 - w) / (1 + w)
    return erfcx(t / math.sqrt(2)) / 2


_TAIL = tuple(map(float, np.polynomial.chebyshev.chebinterpolate(_scaled_tail, 24)))
"""Its Chebyshev series, cut where the error (2e-15) is that of rounding."""


@_plain
def _exponentiate(x: Any, bits: Any) -> None:
    """Put exp(x) in the place of x; by 2^k · exp(r), |r| <= ln(2) / 2, and r's Taylor series.

    Args:
        x: float64.
        bits: Workspace like x.
    """
    for i in range(len(x)):
        value = x[i]
        value = -708.0 if value < -708.0 else value
        value = 709.0 if value > 709.0 else value
        bits[i] = value * _LOG2_E + _MAGIC
        whole = bits[i] - _MAGIC
        rest = (value - whole * _LN2_HIGH) - whole * _LN2_LOW
        total = _SERIES[13]
        for power in range(12, -1, -1):
            total = total * rest + _SERIES[power]
        x[i] = total
    exponents = bits.view(np.int64)
    for i in range(len(x)):
        exponents[i] = (exponents[i] + 1023) << 52
    for i in range(len(x)):
        x[i] *= bits[i]


@_plain
def _normal_tail(t: float) -> float:
    """Return P(X > t) · exp(t² / 2), X normal, t >= 0, by Clenshaw's recurrence."""
    w = 2 * _BEND / (_BEND + t) - 1
    one, two = 0.0, 0.0
    for power in range(24, 0, -1):
        one, two = _TAIL[power] + 2 * w * one - two, one
    return _TAIL[0] + w * one - two


@_plain
def _bend(activation: int, alpha: float, x: Any, slopes: Any, scratch: Any) -> None:
    """Put a smooth activation in the place of x, and its slopes beside it."""
    for start in range(0, len(x), _CHUNK):
        values, found = x[start : start + _CHUNK], slopes[start : start + _CHUNK]
        powers, bits = scratch[0, : len(values)], scratch[1, : len(values)]
        if activation == Smooth.GELU:
            for i in range(len(values)):
                powers[i] = -0.5 * values[i] * values[i]
        else:
            factor = -1.0 if activation <= Smooth.SILU else (2.0 if activation == Smooth.TANH else 1.0)
            for i in range(len(values)):
                powers[i] = factor * values[i]
        _exponentiate(powers, bits)
        if activation == Smooth.GELU:
            for i in range(len(values)):
                value = np.float64(values[i])
                tail = _normal_tail(abs(value)) * powers[i]
                share = tail if value < 0 else 1 - tail
                found[i] = share + value * powers[i] * _NORMAL_PEAK
                values[i] = value * share
        elif activation == Smooth.ELU:
            for i in range(len(values)):
                value = np.float64(values[i])
                values[i] = value if value > 0 else alpha * (powers[i] - 1)
                found[i] = 1.0 if value > 0 else alpha * powers[i]
        elif activation == Smooth.TANH:
            for i in range(len(values)):
                value = 1 - 2 / (1 + powers[i])
                values[i], found[i] = value, 1 - value * value
        elif activation == Smooth.SILU:
            for i in range(len(values)):
                value, share = np.float64(values[i]), 1 / (1 + powers[i])
                values[i], found[i] = value * share, share * (1 + value * (1 - share))
        else:
            for i in range(len(values)):
                share = 1 / (1 + powers[i])
                values[i], found[i] = share, share * (1 - share)


@_plain
def _rectify(x: Any, y: Any, slope: Any) -> None:
    """Multiply what is not positive by the slope; a slope of 0 gives 0 even for infinity."""
    if slope == 0:
        for i in range(len(x)):
            y[i] = slope if x[i] <= 0 else x[i]
    else:
        for i in range(len(x)):
            y[i] = x[i] if x[i] > 0 else x[i] * slope
