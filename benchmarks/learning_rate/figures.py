"""From cross-entropies to figures: the best rate of each width, how far it drifts, and rankings.

Entry points: `optima`, `taus`, `noise_ceiling`, `taus_of_means`, `summarise`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau


def optima(losses: np.ndarray, rates: Sequence[int]) -> list[float]:
    """Return log2 of the best learning rate of each width.

    It is the vertex of the parabola through the best rate tried and its neighbours (an octave to
    either side), or the best itself where that is the first or the last.

    Args:
        losses: `[widths, rates, seeds]`, averaged over the seeds.
        rates: log2 of the rates, in steps of one.
    """
    return [_vertex(row, rates) for row in losses.mean(axis=2)]


def _vertex(row: np.ndarray, rates: Sequence[int]) -> float:
    best = int(row.argmin())
    if best in (0, len(row) - 1):
        return float(rates[best])
    left, middle, right = row[best - 1 : best + 2]
    curvature = left - 2 * middle + right
    return float(rates[best] + (0.5 * (left - right) / curvature if curvature > 0 else 0.0))


def taus(losses: np.ndarray) -> list[float]:
    """Return how well one training at each rate ranks the widths: Kendall's tau with the truth.

    One seed's losses are ranked against the truth by the other seeds: the loss of each width at its
    own best rate. The mean over the seeds. Widths that are almost equal keep it below 1 at any
    rate: see `noise_ceiling`.

    Args:
        losses: `[widths, rates, seeds]`, of two seeds or more.
    """
    return _mean(
        [
            [_tau(truth, column) for column in seed_losses.T]
            for truth, _, seed_losses in _splits(losses)
        ]
    )


def noise_ceiling(losses: np.ndarray) -> float:
    """Return the tau of one training of each width at its own best rate: what noise allows."""
    widths = np.arange(len(losses))
    return _mean(
        [
            [_tau(truth, seed_losses[widths, best_rates])]
            for truth, best_rates, seed_losses in _splits(losses)
        ]
    )[0]


def taus_of_means(losses: np.ndarray) -> list[float]:
    """Return what one rate for all changes: tau of means over all seeds, at it and at the best.

    The same trainings stand on both sides, so that noise is not taken for the rate's doing.
    """
    means = losses.mean(axis=2)
    return [_tau(means.min(axis=1), column) for column in means.T]


def _splits(losses: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the true losses `[widths]` and best rates by the other seeds, and one seed's losses."""
    for seed in range(losses.shape[2]):
        others = np.delete(losses, seed, axis=2).mean(axis=2)
        yield others.min(axis=1), others.argmin(axis=1), losses[:, :, seed]


def _tau(truth: np.ndarray, losses: np.ndarray) -> float:
    """Return Kendall's tau, 0 where all are alike (all of them burst): that ranks nothing."""
    return float(np.nan_to_num(kendalltau(truth, losses).statistic))


def _mean(rows: list[list[float]]) -> list[float]:
    return [float(mean) for mean in np.mean(rows, axis=0)]


def summarise(losses: np.ndarray, widths: Sequence[int], rates: Sequence[int]) -> dict[str, Any]:
    """Return the figures of one parametrisation, ready for JSON."""
    optima_log2 = optima(losses, rates)
    means = losses.mean(axis=2)
    return {
        "optimum_log2": {
            str(width): round(optimum_log2, 3)
            for width, optimum_log2 in zip(widths, optima_log2, strict=True)
        },
        "drift_octaves": round(max(optima_log2) - min(optima_log2), 3),
        "tau": _by_rate(rates, taus(losses)),
        "tau_ceiling": round(noise_ceiling(losses), 3),
        "tau_of_means": _by_rate(rates, taus_of_means(losses)),
        "loss": {
            str(width): _by_rate(rates, row, 4) for width, row in zip(widths, means, strict=True)
        },
    }


def _by_rate(rates: Sequence[int], values: Iterable[float], digits: int = 3) -> dict[str, float]:
    return {
        str(rate): round(float(value), digits) for rate, value in zip(rates, values, strict=True)
    }
