"""The plain baselines: what an engineer would choose without any search.

Every study trains these first and is compared with them: the largest candidate that fits, the
uniform scaling that fits, a rule of thumb, and today's model where a spec names it and it keeps the
limits. Entry point: `baselines`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..space.feasible_set import FeasibleSet
from ..space.local_search import beam_search
from ..space.neighbourhood import Candidates
from ..space.width import log_sizes

LARGEST_FEASIBLE = "largest that fits"
UNIFORM_SCALING = "uniform scaling"
RULE_OF_THUMB = "rule of thumb"
TODAY = "today"
"""The model that is in use today, where a spec names it in `[references]`."""
AGREEING_NAMES = " = "
"""What stands between the names of baselines that agree on one candidate."""

# Multipliers tried for the uniform scaling, where the widths have more distinct ones.
_MAX_MULTIPLIERS = 128


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A candidate chosen without any search.

    Attributes:
        name: Which baselines choose it; several may agree on one candidate.
        widths: Its widths by name.
    """

    name: str
    widths: Mapping[str, int]


def baselines(
    feasible_set: FeasibleSet,
    rule_of_thumb: Sequence[float] | None = None,
    today: Mapping[str, int] | None = None,
) -> list[Baseline]:
    """Return the baselines of a feasible set, without repetition.

    Args:
        feasible_set: Where they are chosen from; every baseline keeps the limits.
        rule_of_thumb: Widths by the rule of thumb, as many as the space has, positive; None leaves
            that baseline out.
        today: Widths of today's model; left out unless it is a candidate that keeps the limits.
    """
    pool = feasible_set.candidate_pool(
        np.random.default_rng(0), feasible_set.space.smallest()[None, :]
    )
    named_rows = [
        (LARGEST_FEASIBLE, _largest_candidate(feasible_set, pool)),
        (UNIFORM_SCALING, _uniform_candidate(feasible_set)),
    ]
    if rule_of_thumb is not None:
        named_rows.append(
            (
                RULE_OF_THUMB,
                nearest_candidate(feasible_set, pool, np.asarray(rule_of_thumb, dtype=np.float64)),
            )
        )
    if today is not None and feasible_set.space.explain(today) is None:
        today_row = np.asarray(feasible_set.space.as_row(today))
        if feasible_set.is_feasible(today_row[None, :])[0]:
            named_rows.append((TODAY, today_row))
    names_by_row: dict[tuple[int, ...], list[str]] = {}
    for name, row in named_rows:
        if row is not None:
            names_by_row.setdefault(tuple(int(value) for value in row), []).append(name)
    return [
        Baseline(
            name=AGREEING_NAMES.join(agreeing),
            widths=feasible_set.space.as_mapping(np.asarray(row)),
        )
        for row, agreeing in names_by_row.items()
    ]


def _log_size(feasible_set: FeasibleSet, candidates: Candidates) -> NDArray[np.float64]:
    """Return log2 of the size, [n]: parameters × FLOPs; without costs, the product of widths."""
    costs = feasible_set.cost_function(candidates)
    if "parameters" in costs and "flops" in costs:
        sizes = [costs["parameters"], costs["flops"]]
        return np.asarray(sum(np.log2(np.maximum(cost, 1)) for cost in sizes), dtype=np.float64)
    return np.asarray(log_sizes(candidates).sum(axis=1), dtype=np.float64)


def _largest_candidate(feasible_set: FeasibleSet, pool: Candidates) -> NDArray[np.int64]:
    """Return the largest of the pool, then of its surroundings while that is larger."""
    best = pool[int(np.argmax(_log_size(feasible_set, pool)))]
    if feasible_set.enumerated:
        return np.asarray(best)
    rng = np.random.default_rng(0)
    return beam_search(feasible_set, lambda rows: _log_size(feasible_set, rows), best[None, :], rng)


def _uniform_candidate(feasible_set: FeasibleSet) -> NDArray[np.int64] | None:
    """Return all widths at the same fraction of their high: the largest that fits."""
    highs = np.asarray([width.high for width in feasible_set.space.widths], dtype=np.float64)
    fractions = np.unique(
        np.concatenate(
            [np.asarray(width.values) / width.high for width in feasible_set.space.widths]
        )
    )
    fractions = fractions[fractions > 0]  # 0 is an absent layer's
    if len(fractions) > _MAX_MULTIPLIERS:
        fractions = fractions[
            np.linspace(0, len(fractions) - 1, _MAX_MULTIPLIERS).round().astype(int)
        ]
    for fraction in fractions[::-1]:
        row = feasible_set.space.snap_down(highs * fraction)
        if row is not None and feasible_set.is_feasible(row[None, :])[0]:
            return row
    return None


def nearest_candidate(
    feasible_set: FeasibleSet, pool: Candidates, point: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the feasible candidate nearest to a point, by the ratio of widths (log distance)."""
    snapped = feasible_set.space.snap(point)
    if feasible_set.is_feasible(snapped[None, :])[0]:
        return snapped
    distance = ((log_sizes(pool) - log_sizes(point)) ** 2).sum(axis=1)
    return np.asarray(pool[int(np.argmin(distance))])
