"""The pick: the candidate that is believed to be best now, among tried and untried ones.

The luckiest training is not the best network. The pick has the best posterior mean of all feasible
candidates, whether trained or not, and comes with an interval. Entry point: `pick`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..goal import Goal, confident
from ..space.feasible_set import Candidates, FeasibleSet, keys
from ..space.local_search import climb
from .acquisition import contenders
from .companions import Riders
from .history import History
from .posterior import Belief, columns

Floats = NDArray[np.float64]

INTERVAL = 1.96
"""Standard deviations on either side of the mean: 95 % of a normal belief."""

# Feasible candidates that are judged by every surface; of more, the likeliest are.
_JUDGED = 20_000
_SHORTLIST = 4096


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A recommended candidate.

    Attributes:
        widths: Its widths by name.
        mean: Its metric as believed, without the luck of one training, in the metric's own sign.
        deviation: Standard deviation of that belief.
        low: Lower end of the 95 % interval of the metric.
        high: Upper end.
        trained: Whether it was trained; if not, one training would confirm it.
        companions: Values of the parameters that ride along.
    """

    widths: Mapping[str, int]
    mean: float
    deviation: float
    low: float
    high: float
    trained: bool
    companions: Mapping[str, Any] = field(default_factory=dict)


def pick(
    feasible: FeasibleSet,
    goal: Goal,
    history: History,
    belief: Belief,
    riders: Riders | None = None,
) -> Pick:
    """The candidate to take for a goal.

    Args:
        feasible: The candidates.
        goal: "best" and "front" pick the best mean; "smallest" the cheapest that is believed to
            meet the target with confidence, or the likeliest to where none is.
        history: What was tried; with companions, only those that were tried are picked.
        belief: What it makes one believe.
        riders: Turns encoded companions into parameters.
    """
    rng = np.random.default_rng(0)
    rider = None if history.riders is None else _favourite(belief, history)

    def means(candidates: Candidates) -> tuple[Floats, Floats]:
        encoded = _with(feasible, candidates, rider)
        mean, deviation = belief.metric.predict(encoded)
        return np.where(belief.fit_to_use(encoded), mean, mean - 1e6 * (1 + abs(mean))), deviation

    around = history.observed[np.argsort(-history.values, kind="stable")[:4]]
    pool = feasible.pool(rng, around)
    exact = feasible.enumerated and len(pool) <= _JUDGED
    if len(pool) > _JUDGED:
        encoded = _with(feasible, pool, rider)
        quick, _ = belief.metric.quick().predict(encoded)
        best = np.argpartition(-quick, _SHORTLIST)[:_SHORTLIST]
        likely = contenders(belief, encoded, _SHORTLIST)
        pool = pool[np.union1d(best, likely)]
    if not exact:
        pool = np.vstack([pool, history.observed[feasible.admitted(history.observed)]])
    mean, deviation = means(pool)
    if goal.kind == "smallest":
        cost = np.asarray(feasible.cost(pool)[goal.cost], dtype=np.float64)
        chosen = pool[_cheapest(mean, deviation, cost, goal)]
    elif not exact:
        starts = pool[np.argsort(-mean, kind="stable")[:8]]
        none = np.empty(0, dtype=np.uint64)
        chosen = climb(feasible, lambda some: means(some)[0], starts, none, rng)
    else:
        chosen = pool[int(np.argmax(mean))]
    found, spread = belief.metric.predict(_with(feasible, chosen[None, :], rider))
    value, deviation_ = goal.sign * float(found[0]), float(spread[0])
    trained = keys(history.observed[history.complete])
    return Pick(
        widths=feasible.space.as_mapping(chosen),
        mean=value,
        deviation=deviation_,
        low=value - INTERVAL * deviation_,
        high=value + INTERVAL * deviation_,
        trained=bool(np.isin(keys(chosen[None, :]), trained)[0]),
        companions={} if riders is None or rider is None else riders.decode(rider),
    )


def _cheapest(mean: Floats, deviation: Floats, cost: Floats, goal: Goal) -> int:
    good = np.flatnonzero(confident(mean, deviation, goal))
    if len(good):
        return int(good[np.lexsort((-mean[good], cost[good]))[0]])
    return int(np.argmax((mean - goal.signed_target) / np.maximum(deviation, 1e-12)))


def _favourite(belief: Belief, history: History) -> Floats:
    """The companions of the observed trial that is believed to be best, [columns]."""
    assert history.riders is not None
    mean, _ = belief.metric.predict(belief.seen[: len(history.values)])
    return np.asarray(history.riders[int(np.argmax(mean))])


def _with(feasible: FeasibleSet, candidates: Candidates, riders: Floats | None) -> Floats:
    repeated = None if riders is None else np.tile(riders, (len(candidates), 1))
    return columns(feasible, candidates, repeated)
