"""Local search: a beam search over the lattice from good candidates to better ones.

Where the feasible set is too large to score every member, the best of a draw is only a start: its
neighbours, and swaps of one width for another along the limit, lead to the optimum nearby.
Entry point: `beam_search`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..surrogate.observations import Floats
from .feasible_set import FeasibleSet
from .neighbourhood import Candidates, hash_rows, neighbours, swap_moves, unique_rows

# Candidates that are followed at once, swaps tried from each, and rounds at most.
_BEAM_WIDTH = 6
_SWAPS_PER_CANDIDATE = 48
_MAX_ROUNDS = 25


def beam_search(
    feasible_set: FeasibleSet,
    score: Callable[[Candidates], Floats],
    starts: Candidates,
    rng: np.random.Generator,
    excluded_hashes: NDArray[np.uint64] | None = None,
) -> NDArray[np.int64]:
    """Return the best candidate found uphill of the starts, [d]; feasible and not excluded.

    Args:
        feasible_set: Where to stay.
        score: What to maximise: candidates [n, d] → [n].
        starts: Feasible candidates that are not excluded, [k, d], k ≥ 1.
        rng: Draws the swaps.
        excluded_hashes: Hashes of candidates that must not be returned; None for none.
    """
    beam, scores = _top_scored(starts, score(starts))
    seen_hashes = hash_rows(starts)
    if excluded_hashes is not None:
        seen_hashes = np.concatenate([seen_hashes, excluded_hashes])
    for _ in range(_MAX_ROUNDS):
        neighbourhood = np.vstack(
            [
                neighbours(feasible_set.space, beam),
                swap_moves(feasible_set.space, beam, rng, _SWAPS_PER_CANDIDATE),
            ]
        )
        neighbourhood = unique_rows(neighbourhood)
        hashes = hash_rows(neighbourhood)
        is_new = ~np.isin(hashes, seen_hashes)
        seen_hashes = np.concatenate([seen_hashes, hashes[is_new]])
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
