"""The climb: a beam search over the lattice from good candidates to better ones.

Where the feasible set is too large to judge every member, the best of a draw is only a start: its
neighbours, and trades of one width for another along the limit, lead to the top nearby.
Entry point: `climb`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .feasible_set import Candidates, FeasibleSet
from .neighbourhood import distinct, keys, steps, trades

Floats = NDArray[np.float64]

# Candidates that are followed at once, trades tried from each, and rounds at most.
_BEAM = 6
_TRADES = 48
_ROUNDS = 25


def climb(
    feasible: FeasibleSet,
    score: Callable[[Candidates], Floats],
    starts: Candidates,
    closed: NDArray[np.uint64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The best candidate found uphill of the starts, [d]; feasible and not closed.

    Args:
        feasible: Where to stay.
        score: What to climb, for candidates [n, d], [n].
        starts: Feasible candidates that are not closed, [k, d], k ≥ 1.
        closed: Keys of candidates that must not be returned.
        rng: Draws the trades.
    """
    beam, heights = _top(starts, score(starts))
    judged = keys(starts)
    for _ in range(_ROUNDS):
        around = np.vstack(
            [steps(feasible.space, beam), trades(feasible.space, beam, rng, _TRADES)]
        )
        around = distinct(around)
        marks = keys(around)
        new = ~np.isin(marks, judged) & ~np.isin(marks, closed)
        judged = np.concatenate([judged, marks[new]])
        around = around[new]
        around = around[feasible.admitted(around)]
        if not len(around):
            break
        before = heights[0]
        beam, heights = _top(np.vstack([beam, around]), np.concatenate([heights, score(around)]))
        if heights[0] <= before:
            break
    return np.asarray(beam[0])


def _top(candidates: Candidates, heights: Floats) -> tuple[Candidates, Floats]:
    order = np.argsort(-heights, kind="stable")[:_BEAM]
    return candidates[order], heights[order]
