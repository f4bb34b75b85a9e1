"""Observations as the surfaces take them: standardised, with the noise and fidelity of each.

Entry points: `prepare`, `Observations`, `with_noise`, `spread_out`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Trainings that the priors are weighed on: a 192 × 192 eigendecomposition takes some 5 ms.
_WEIGHED = 192
# Values further below the median than this many times the distance of the 90th percentile above
# it say "bad" and no more: a network that did not learn would bend every surface.
_FLOOR = 6.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Observations as the surfaces take them.

    Attributes:
        encoded: Candidates, [n, columns], columns in [0, 1].
        values: Metrics, [n], standardised.
        factors: Noise variance of each relative to a full training's, [n].
        offsets: One column for each cheaper fidelity: 1 for its trainings, [n, fidelities − 1].
    """

    encoded: Floats
    values: Floats
    factors: Floats
    offsets: Floats

    def part(self, rows: NDArray[np.intp]) -> Observations:
        """Some of the observations."""
        return Observations(
            encoded=self.encoded[rows],
            values=self.values[rows],
            factors=self.factors[rows],
            offsets=self.offsets[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """How the metric was standardised: (metric − mean) / scale."""

    mean: float
    scale: float


def prepare(encoded: Floats, values: Floats, fidelity: Floats | None) -> tuple[Observations, Scale]:
    """Standardise observed trainings by those of the longest fidelity.

    Args:
        encoded: Observed candidates, [n, columns].
        values: Their metrics, [n].
        fidelity: How long each was trained, [n]; None where all were trained alike.
    """
    levels = np.zeros(len(values)) if fidelity is None else np.asarray(fidelity)
    counts = levels == levels.max()
    floored = _floored(values, counts)
    mean, scale = float(floored[counts].mean()), float(floored[counts].std())
    # One training, or equal ones, tell no scale.
    scale = scale if scale > 1e-12 * max(1.0, abs(mean)) else 1.0
    cheaper = np.unique(levels[~counts])
    data = Observations(
        encoded=encoded,
        values=(floored - mean) / scale,
        factors=np.ones(len(values)),
        offsets=(levels[:, None] == cheaper[None, :]).astype(np.float64),
    )
    return data, Scale(mean=mean, scale=scale)


def with_noise(data: Observations, factors: Floats) -> Observations:
    """The observations with a noise factor for each cheaper fidelity, [fidelities − 1]."""
    return Observations(
        encoded=data.encoded,
        values=data.values,
        factors=1.0 + data.offsets @ (factors - 1.0),
        offsets=data.offsets,
    )


def _floored(values: Floats, counts: NDArray[np.bool_]) -> Floats:
    """The values with hopeless ones raised to a floor."""
    middle, high = np.quantile(values[counts], [0.5, 0.9])
    if high <= middle:
        return values
    return np.asarray(np.maximum(values, middle - _FLOOR * (high - middle)))


def spread_out(count: int) -> NDArray[np.intp]:
    """Indices of at most `_WEIGHED` observations: the newest half of them and evenly older ones."""
    if count <= _WEIGHED:
        return np.arange(count)
    newest = _WEIGHED // 2
    older = np.linspace(0, count - newest - 1, _WEIGHED - newest).round().astype(np.intp)
    return np.concatenate([older, np.arange(count - newest, count)])
