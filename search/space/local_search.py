"""The climb: a beam search over the lattice from good candidates to better ones.

Where the feasible set is too large to judge every member, the best of a draw is only a start: its
neighbours, and trades of one width for another along the limit, lead to the top nearby.
Entry point: `beam_search`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .feasible_set import Candidates, FeasibleSet
from .neighbourhood import hash_rows, neighbours, swap_moves, unique_rows

Floats = NDArray[np.float64]

# Candidates that are followed at once, trades tried from each, and rounds at most.
_BEAM_WIDTH = 6
_SWAPS_PER_CANDIDATE = 48
_MAX_ROUNDS = 25


def beam_search(
    feasible_set: FeasibleSet,
    score: Callable[[Candidates], Floats],
    starts: Candidates,
    excluded_hashes: NDArray[np.uint64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The best candidate found uphill of the starts, [d]; feasible and not closed.

    Args:
        feasible_set: Where to stay.
        score: What to climb, for candidates [n, d], [n].
        starts: Feasible candidates that are not closed, [k, d], k ≥ 1.
        excluded_hashes: Keys of candidates that must not be returned.
        rng: Draws the trades.
    """
    beam, scores = _top_scored(starts, score(starts))
    visited_hashes = hash_rows(starts)
    for _ in range(_MAX_ROUNDS):
        neighbourhood = np.vstack(
            [
                neighbours(feasible_set.space, beam),
                swap_moves(feasible_set.space, beam, rng, _SWAPS_PER_CANDIDATE),
            ]
        )
        neighbourhood = unique_rows(neighbourhood)
        hashes = hash_rows(neighbourhood)
        is_new = ~np.isin(hashes, visited_hashes) & ~np.isin(hashes, excluded_hashes)
        visited_hashes = np.concatenate([visited_hashes, hashes[is_new]])
        neighbourhood = neighbourhood[is_new]
        neighbourhood = neighbourhood[feasible_set.is_feasible(neighbourhood)]
        if not len(neighbourhood):
            break
        previous_best = scores[0]
        beam, scores = _top_scored(
            np.vstack([beam, neighbourhood]), np.concatenate([scores, score(neighbourhood)])
        )
        if scores[0] <= previous_best:
            break
    return np.asarray(beam[0])


def _top_scored(candidates: Candidates, scores: Floats) -> tuple[Candidates, Floats]:
    order = np.argsort(-scores, kind="stable")[:_BEAM_WIDTH]
    return candidates[order], scores[order]
