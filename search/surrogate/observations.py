"""Observations as the models take them: standardised, with the noise and fidelity of each.

Entry points: `standardise`, `Observations`, `with_noise_factors`, `subsample_indices`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_DEVIATION = 1e-12
"""Least standard deviation of a posterior, in the metric's unit."""
FREE_VARIANCE = 100.0
"""Prior variance, over a slope's, of what is all but free: intercepts and fidelity offsets."""

MAX_WEIGHED = 192
"""Trainings that the priors are weighed on: a 192 × 192 eigendecomposition takes some 5 ms."""

# Values further below the median than this many times the distance of the 90th percentile above
# it say "bad" and no more: a network that did not learn would bend every surface.
_WINSOR_RANGE = 6.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Observations as the models take them.

    Attributes:
        encoded: Candidates, [n, columns], columns in [0, 1].
        values: Metrics, [n], standardised.
        noise_factors: Noise variance of each relative to a full training's, [n].
        offsets: One column for each cheaper fidelity: 1 for its trainings, [n, fidelities − 1].
    """

    encoded: Floats
    values: Floats
    noise_factors: Floats
    offsets: Floats

    def subset(self, rows: NDArray[np.intp]) -> Observations:
        """Return the observations with these indices."""
        return Observations(
            encoded=self.encoded[rows],
            values=self.values[rows],
            noise_factors=self.noise_factors[rows],
            offsets=self.offsets[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardisation:
    """How the metric was standardised: (metric − mean) / scale.

    Attributes:
        mean: Of full trainings, in the metric's unit.
        scale: Their standard deviation.
        floor: What all metrics below it were raised to: −∞ where there is nothing to raise.
    """

    mean: float
    scale: float
    floor: float


def standardise(
    encoded: Floats, values: Floats, fidelity: Floats | None
) -> tuple[Observations, Standardisation]:
    """Standardise observed trainings by those of the longest fidelity.

    Args:
        encoded: Observed candidates, [n, columns].
        values: Their metrics, [n].
        fidelity: How long each was trained, [n]; None where all were trained alike.
    """
    fidelity_levels = np.zeros(len(values)) if fidelity is None else np.asarray(fidelity)
    is_full_fidelity = fidelity_levels == fidelity_levels.max()
    floor = _winsor_floor(values, is_full_fidelity)
    winsorised = np.maximum(values, floor)
    mean, scale = (
        float(winsorised[is_full_fidelity].mean()),
        float(winsorised[is_full_fidelity].std()),
    )
    # One training, or equal ones, have no scale.
    scale = scale if scale > 1e-12 * max(1.0, abs(mean)) else 1.0
    cheaper_levels = np.unique(fidelity_levels[~is_full_fidelity])
    observations = Observations(
        encoded=encoded,
        values=(winsorised - mean) / scale,
        noise_factors=np.ones(len(values)),
        offsets=(fidelity_levels[:, None] == cheaper_levels[None, :]).astype(np.float64),
    )
    return observations, Standardisation(mean=mean, scale=scale, floor=floor)


def with_noise_factors(observations: Observations, fidelity_noise_factors: Floats) -> Observations:
    """Return the observations with a noise factor for each cheaper fidelity, [fidelities − 1]."""
    noise_factors = 1.0 + observations.offsets @ (fidelity_noise_factors - 1.0)
    return replace(observations, noise_factors=noise_factors)


def centred(encoded: Floats) -> Floats:
    """Return encoded candidates moved from [0, 1] to [-1, 1], as priors are stated."""
    return 2.0 * encoded - 1.0


def _winsor_floor(values: Floats, is_full_fidelity: NDArray[np.bool_]) -> float:
    """Return what values far below the median are raised to; −∞ where they have no range."""
    median, high = np.quantile(values[is_full_fidelity], [0.5, 0.9])
    return float(median - _WINSOR_RANGE * (high - median)) if high > median else -np.inf


def subsample_indices(count: int, max_count: int = MAX_WEIGHED) -> NDArray[np.intp]:
    """Return the indices of at most `max_count` observations.

    Half of them are the newest, the others are spread evenly over the older ones.
    """
    if count <= max_count:
        return np.arange(count)
    newest_count = max_count // 2
    older_indices = (
        np.linspace(0, count - newest_count - 1, max_count - newest_count).round().astype(np.intp)
    )
    return np.concatenate([older_indices, np.arange(count - newest_count, count)])
