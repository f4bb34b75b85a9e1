"""The plain baselines: what an engineer would pick without any search.

Every study trains these three first and is judged against them: the largest candidate that fits,
the uniform scaling that fits, and a rule of thumb. Entry point: `baselines`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..space.feasible_set import Candidates, FeasibleSet
from ..space.local_search import climb

LARGEST = "largest that fits"
UNIFORM = "uniform scaling"
THUMB = "rule of thumb"

# Multipliers tried for the uniform scaling, where the widths have more distinct ones.
_MULTIPLIERS = 128


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A candidate picked without any search.

    Attributes:
        name: Which baselines pick it; several may agree on one candidate.
        widths: Its widths by name.
    """

    name: str
    widths: Mapping[str, int]


def baselines(feasible: FeasibleSet, thumb: Sequence[float] | None = None) -> list[Baseline]:
    """The baselines of a feasible set, without repetition.

    Args:
        feasible: Where they are picked from; every baseline keeps the limits.
        thumb: Widths by the rule of thumb, as many as the space has, positive; None leaves that
            baseline out.
    """
    pool = feasible.pool(np.random.default_rng(0), feasible.space.smallest()[None, :])
    picked = [(LARGEST, _largest(feasible, pool)), (UNIFORM, _uniform(feasible))]
    if thumb is not None:
        picked.append((THUMB, _nearest(feasible, pool, np.asarray(thumb, dtype=np.float64))))
    names: dict[tuple[int, ...], list[str]] = {}
    for name, row in picked:
        if row is not None:
            names.setdefault(tuple(int(value) for value in row), []).append(name)
    return [
        Baseline(name=" = ".join(agreeing), widths=feasible.space.as_mapping(np.asarray(row)))
        for row, agreeing in names.items()
    ]


def pyramid(features: int, outputs: int, layers: int) -> list[float]:
    """Hidden widths that shrink geometrically from the inputs to the outputs.

    w_i = n (m/n)^(i/(k+1)) for i = 1 … k, with n inputs, m outputs and k hidden layers.
    Source: Masters, Practical Neural Network Recipes in C++ (1993), the geometric pyramid rule.
    Example: 64 inputs, 10 outputs and one hidden layer give √(64 × 10) ≈ 25.3.
    """
    ratio = outputs / features
    return [features * ratio ** (layer / (layers + 1)) for layer in range(1, layers + 1)]


def doubling(first: float, layers: int) -> list[float]:
    """Channels that double from block to block.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks (2015), table 1.
    """
    return [first * 2.0**layer for layer in range(layers)]


def _size(feasible: FeasibleSet, candidates: Candidates) -> NDArray[np.float64]:
    """What "large" means, [n]: parameters times FLOPs; without costs, the product of widths."""
    costs = feasible.cost(candidates)
    if "parameters" in costs and "flops" in costs:
        sizes = [costs["parameters"], costs["flops"]]
        return np.asarray(sum(np.log2(np.maximum(one, 1)) for one in sizes), dtype=np.float64)
    return np.asarray(np.log2(candidates).sum(axis=1), dtype=np.float64)


def _largest(feasible: FeasibleSet, pool: Candidates) -> NDArray[np.int64]:
    """The largest of the pool, then uphill while there is a larger feasible neighbour."""
    best = pool[int(np.argmax(_size(feasible, pool)))]
    if feasible.enumerated:
        return np.asarray(best)
    none = np.empty(0, dtype=np.uint64)
    rng = np.random.default_rng(0)
    return climb(feasible, lambda rows: _size(feasible, rows), best[None, :], none, rng)


def _uniform(feasible: FeasibleSet) -> NDArray[np.int64] | None:
    """All widths at the same fraction of their high: the largest fraction that fits."""
    highs = np.asarray([width.high for width in feasible.space.widths], dtype=np.float64)
    fractions = np.unique(
        np.concatenate([np.asarray(width.values) / width.high for width in feasible.space.widths])
    )
    if len(fractions) > _MULTIPLIERS:
        fractions = fractions[np.linspace(0, len(fractions) - 1, _MULTIPLIERS).round().astype(int)]
    for fraction in fractions[::-1]:
        row = feasible.space.snap_down(highs * fraction)
        if row is not None and feasible.admitted(row[None, :])[0]:
            return row
    return None


def _nearest(
    feasible: FeasibleSet, pool: Candidates, point: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The feasible candidate nearest to a point, by the ratio of widths (log distance)."""
    snapped = feasible.space.snap(point)
    if feasible.admitted(snapped[None, :])[0]:
        return snapped
    distance = ((np.log2(pool) - np.log2(point)) ** 2).sum(axis=1)
    return np.asarray(pool[int(np.argmin(distance))])
