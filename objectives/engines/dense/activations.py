"""Exponentials and activations in compiled code that vectorises, which numba's own do not.

They are computed in float64, and rounded once to the network's type.

Entry points: `exp_inplace`, `smooth_activation`, `leaky_relu`, `leaky_relu_backward`.
"""

import math
from typing import Any

import numpy as np
from scipy.special import erfcx

from .program import SmoothActivation, Workspace, jit

CHUNK = 512
"""Numbers whose exponentials are computed at once: few enough for the first-level cache."""

_ROUNDING_SHIFT = 1.5 * 2.0**52
"""Added to a float64, rounds it to a whole number, which is then in the lowest bits."""

_NORMAL_PEAK = 1 / math.sqrt(2 * math.pi)

_LOG2_E, _LN2_HIGH = 1 / math.log(2), 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
"""ln 2 = high + low, high with 32 bits only: its products with small whole numbers are exact."""

_TAYLOR = tuple(1 / math.factorial(power) for power in range(14))

_TAIL_SCALE = 4.0


def _scaled_normal_tail(w: Any) -> Any:
    """Return P(X > t) · exp(t² / 2), X normal, for w = 2 · bend / (bend + t) - 1, in (-1, 1]."""
    t = _TAIL_SCALE * (1 - w) / (1 + w)
    return erfcx(t / math.sqrt(2)) / 2


_TAIL_CHEBYSHEV = tuple(
    map(float, np.polynomial.chebyshev.chebinterpolate(_scaled_normal_tail, 24))
)
"""Its Chebyshev series, cut where the error (2e-15) is that of rounding."""


@jit
def exp_inplace(x: Any, workspace: Workspace) -> None:
    """Replace x by exp(x), as 2^k · exp(r) with |r| <= ln(2) / 2 and the Taylor series of exp(r).

    Args:
        x: float64.
        workspace: Its second row of `scratch` is overwritten.
    """
    bits, integers = workspace.scratch[1], workspace.scratch_bits
    for i in range(len(x)):
        value = x[i]
        value = -708.0 if value < -708.0 else value
        value = 709.0 if value > 709.0 else value
        bits[i] = value * _LOG2_E + _ROUNDING_SHIFT
        exponent = bits[i] - _ROUNDING_SHIFT
        remainder = (value - exponent * _LN2_HIGH) - exponent * _LN2_LOW
        total = _TAYLOR[13]
        for power in range(12, -1, -1):
            total = total * remainder + _TAYLOR[power]
        x[i] = total
    for i in range(len(x)):
        integers[i] = (integers[i] + 1023) << 52
    for i in range(len(x)):
        x[i] *= bits[i]


@jit
def _normal_tail(t: float) -> float:
    """Return P(X > t) · exp(t² / 2), X normal, t >= 0, by Clenshaw's recurrence."""
    w = 2 * _TAIL_SCALE / (_TAIL_SCALE + t) - 1
    current, previous = 0.0, 0.0
    for power in range(24, 0, -1):
        current, previous = _TAIL_CHEBYSHEV[power] + 2 * w * current - previous, current
    return _TAIL_CHEBYSHEV[0] + w * current - previous


_EXPONENT_FACTORS = (-1.0, -1.0, 2.0, 1.0)
"""By activation: the factor on its input, of which it computes the exponential."""


@jit
def smooth_activation(
    activation: int, alpha: float, x: Any, slopes: Any, workspace: Workspace
) -> None:
    """Replace x by a smooth activation of it, and write the slopes."""
    for start in range(0, len(x), CHUNK):
        values, chunk_slopes = x[start : start + CHUNK], slopes[start : start + CHUNK]
        exponentials = workspace.scratch[0, : len(values)]
        if activation == SmoothActivation.GELU:
            for i in range(len(values)):
                exponentials[i] = -0.5 * values[i] * values[i]
        else:
            factor = _EXPONENT_FACTORS[activation]
            for i in range(len(values)):
                exponentials[i] = factor * values[i]
        exp_inplace(exponentials, workspace)
        if activation == SmoothActivation.GELU:
            for i in range(len(values)):
                value = np.float64(values[i])
                tail = _normal_tail(abs(value)) * exponentials[i]
                gate = tail if value < 0 else 1 - tail
                chunk_slopes[i] = gate + value * exponentials[i] * _NORMAL_PEAK
                values[i] = value * gate
        elif activation == SmoothActivation.ELU:
            for i in range(len(values)):
                value = np.float64(values[i])
                values[i] = value if value > 0 else alpha * (exponentials[i] - 1)
                chunk_slopes[i] = 1.0 if value > 0 else alpha * exponentials[i]
        elif activation == SmoothActivation.TANH:
            for i in range(len(values)):
                value = 1 - 2 / (1 + exponentials[i])
                values[i], chunk_slopes[i] = value, 1 - value * value
        elif activation == SmoothActivation.SILU:
            for i in range(len(values)):
                value, gate = np.float64(values[i]), 1 / (1 + exponentials[i])
                values[i], chunk_slopes[i] = value * gate, gate * (1 + value * (1 - gate))
        else:
            for i in range(len(values)):
                gate = 1 / (1 + exponentials[i])
                values[i], chunk_slopes[i] = gate, gate * (1 - gate)


@jit
def leaky_relu(y: Any, slope: Any) -> None:
    """Multiply numbers that are not positive by the slope; 0 gives 0 even for infinity."""
    if slope == 0:
        for i in range(len(y)):
            y[i] = slope if y[i] <= 0 else y[i]
    else:
        for i in range(len(y)):
            y[i] = y[i] if y[i] > 0 else y[i] * slope


@jit
def leaky_relu_backward(delta: Any, y: Any, slope: Any) -> None:
    """Replace the gradient of the output of `leaky_relu` by that of its input."""
    if slope == 0:
        for i in range(len(delta)):
            delta[i] = slope if y[i] <= 0 else delta[i]
    else:
        for i in range(len(delta)):
            delta[i] = delta[i] if y[i] > 0 else delta[i] * slope
