"""Expected improvement and its relatives: what a training is expected to gain, goal by goal.

Each function scores candidates, higher is better; all use the posterior of the noiseless metric,
so that a lucky training is not chased.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

from ..surrogate.observations import Floats

_SQRT_2 = float(np.sqrt(2.0))
_LOG_SQRT_2PI = 0.5 * float(np.log(2.0 * np.pi))
_SQRT_PI_HALF = float(np.sqrt(np.pi / 2.0))


def log_expected_improvement(mean: Floats, deviation: Floats, incumbent: float) -> Floats:
    """Return the logarithm of the expected improvement over `incumbent`, stable far below it.

    log EI = log s + log h(z),  h(z) = φ(z) + z Φ(z),  z = (m − best) / s. For z < −1,
    h(z) = φ(z) (1 − |z| √(π/2) erfcx(|z|/√2)) avoids the cancellation.
    Source: Ament et al., Unexpected Improvements to Expected Improvement (2023), §4.1.

    Args:
        mean: Posterior means, [n].
        deviation: Posterior standard deviations, [n], positive.
        incumbent: What to improve upon.
    """
    z = (mean - incumbent) / deviation
    log_density = -0.5 * z**2 - _LOG_SQRT_2PI
    log_h_near = np.log(np.maximum(np.exp(log_density) + z * ndtr(z), 1e-300))
    clipped_z = np.minimum(z, -1.0)
    # Past |z| of about 10^6 the difference itself rounds to nothing: its limit there is 1/z².
    tail_factor = 1.0 - np.abs(clipped_z) * _SQRT_PI_HALF * erfcx(np.abs(clipped_z) / _SQRT_2)
    log_tail_factor = np.where(
        clipped_z > -1e6, np.log(np.maximum(tail_factor, 1e-16)), -2.0 * np.log(-clipped_z)
    )
    return np.asarray(
        np.log(deviation) + np.where(z > -1.0, log_h_near, log_density + log_tail_factor)
    )


def inverse_log_ei(log_improvement: float) -> float:
    """Return the z at which log h(z), the log EI of a unit deviation, has a value.

    log h rises strictly with z, so halving an interval finds it.
    """
    low, high = -1e3, max(1.0, float(np.exp(min(log_improvement, 700.0))))
    for _ in range(80):
        middle = 0.5 * (low + high)
        middle_log_ei = log_expected_improvement(np.array([middle]), np.ones(1), 0.0)[0]
        low, high = (low, middle) if middle_log_ei > log_improvement else (middle, high)
    return low


def log_expected_saving(
    mean: Floats, deviation: Floats, cost: Floats, target: float, incumbent: float
) -> Floats:
    """Return the log of the expected saving, P(metric ≥ target) × saving, for "smallest".

    Args:
        mean: Posterior means, [n].
        deviation: Posterior standard deviations, [n], positive.
        cost: Costs, [n], positive.
        target: The metric that is good enough.
        incumbent: Cost of the cheapest candidate known to be good enough; infinite if none.
            Candidates that cost as much save nothing and score −∞.
    """
    log_probability = log_ndtr((mean - target) / deviation)
    log_cost = np.log(np.maximum(cost, 1.0))
    if np.isinf(incumbent):
        # Nothing is good enough yet: find something that is, the cheaper the better.
        reference_log_cost = float(log_cost.max()) + 1.0
    else:
        reference_log_cost = float(np.log(max(incumbent, 1.0)))
    saving = reference_log_cost - log_cost
    log_saving = np.log(np.maximum(saving, 1e-300))
    return np.where(saving > 0, log_probability + log_saving, -np.inf)


def log_expected_hypervolume_improvement(
    mean: Floats, deviation: Floats, cost: Floats, front: Floats, reference: tuple[float, float]
) -> Floats:
    """Return the log of the expected hypervolume improvement, for "front"; the cost is exact.

    With the cost c known, only the metric is uncertain: a candidate adds the area between the
    front's best metric at each cost of at least c and its own. That area is piecewise linear in
    the metric, so its expectation is a sum of expected improvements, one for each step of the
    front to the right of c, weighted by the step's length in log cost.

    Args:
        mean: Posterior means, [n].
        deviation: Posterior standard deviations, [n], positive.
        cost: Costs, [n], positive.
        front: Cost and metric of the points on the present front, [m, 2].
        reference: Cost above all and metric below all, from which the area is measured.
    """
    log_cost = np.log(np.maximum(cost, 1.0))
    worst_cost, worst_metric = float(np.log(max(reference[0], 1.0))), reference[1]
    order = np.argsort(front[:, 0], kind="stable") if len(front) else np.empty(0, dtype=int)
    edges = np.concatenate([[-np.inf], np.log(np.maximum(front[order, 0], 1.0)), [worst_cost]])
    levels = np.concatenate([[worst_metric], np.maximum.accumulate(front[order, 1])])
    log_total = np.full(len(mean), -np.inf)
    for left, right, level in zip(edges[:-1], edges[1:], levels, strict=True):
        step_length = np.maximum(right - np.maximum(log_cost, left), 0.0)
        log_ei = log_expected_improvement(mean, deviation, float(max(level, worst_metric)))
        with np.errstate(divide="ignore"):
            log_total = np.logaddexp(log_total, log_ei + np.log(step_length))
    return log_total
