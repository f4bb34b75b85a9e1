"""Exponentials and activations in compiled code that vectorises; numba has no such ones.

Both are computed in float64, and rounded once to the network's type.

Entry points: `exponentiate`, `bend`, `rectify`, `unrectify`.
"""

import math
from typing import Any

import numpy as np
from scipy.special import erfcx

from .program import Smooth, Space, plain

CHUNK = 512
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


@plain
def exponentiate(x: Any, space: Space) -> None:
    """Put exp(x) in the place of x; by 2^k · exp(r), |r| <= ln(2) / 2, and r's Taylor series.

    Args:
        x: float64.
        space: Of which the second row of `scratch` is used.
    """
    bits, words = space.scratch[1], space.words
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
    for i in range(len(x)):
        words[i] = (words[i] + 1023) << 52
    for i in range(len(x)):
        x[i] *= bits[i]


@plain
def _normal_tail(t: float) -> float:
    """Return P(X > t) · exp(t² / 2), X normal, t >= 0, by Clenshaw's recurrence."""
    w = 2 * _BEND / (_BEND + t) - 1
    one, two = 0.0, 0.0
    for power in range(24, 0, -1):
        one, two = _TAIL[power] + 2 * w * one - two, one
    return _TAIL[0] + w * one - two


_FACTORS = (-1.0, -1.0, 2.0, 1.0)
"""By activation: what it takes the exponential of, as a multiple of its input."""


@plain
def bend(activation: int, alpha: float, x: Any, slopes: Any, space: Space) -> None:
    """Put a smooth activation in the place of x, and its slopes beside it."""
    for start in range(0, len(x), CHUNK):
        values, found = x[start : start + CHUNK], slopes[start : start + CHUNK]
        powers = space.scratch[0, : len(values)]
        if activation == Smooth.GELU:
            for i in range(len(values)):
                powers[i] = -0.5 * values[i] * values[i]
        else:
            factor = _FACTORS[activation]
            for i in range(len(values)):
                powers[i] = factor * values[i]
        exponentiate(powers, space)
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


@plain
def rectify(y: Any, slope: Any) -> None:
    """Multiply what is not positive by the slope; a slope of 0 gives 0 even for infinity."""
    if slope == 0:
        for i in range(len(y)):
            y[i] = slope if y[i] <= 0 else y[i]
    else:
        for i in range(len(y)):
            y[i] = y[i] if y[i] > 0 else y[i] * slope


@plain
def unrectify(delta: Any, y: Any, slope: Any) -> None:
    """Turn the gradient of `rectify` into that of its input, in place."""
    if slope == 0:
        for i in range(len(delta)):
            delta[i] = slope if y[i] <= 0 else delta[i]
    else:
        for i in range(len(delta)):
            delta[i] = delta[i] if y[i] > 0 else delta[i] * slope
