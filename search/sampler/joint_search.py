"""Pairs of widths and companions: the best one by turns over either part.

Widths form a lattice that can be judged whole, companions may be continuous; so the best pair is
found from random pairs, then by improving one part while the other is held. Entry point:
`best_pair`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..space.feasible_set import Candidates, keys
from .companions import Riders
from .history import History

Floats = NDArray[np.float64]

# Random pairs to start from, candidates and companions looked at in a turn, and turns.
_PAIRS = 4096
_WIDTHS = 4096
_COMPANIONS = 256
_TURNS = 3


class Score(Protocol):
    """What is expected of each pair."""

    def __call__(self, candidates: Candidates, riders: Floats | None = None) -> Floats:
        """Higher is better, [n]."""
        ...


def best_pair(
    pool: Candidates, riders: Riders, score: Score, history: History, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Floats] | None:
    """The open pair with the highest score: widths [d] and encoded companions [e].

    Args:
        pool: Feasible candidates, [n, d], n ≥ 1.
        riders: The companions.
        score: What to maximise.
        history: Pairs in it are closed, and so are widths that failed.
        rng: Draws pairs and companions.

    Returns:
        The pair, or None where every pair that was looked at is closed.
    """
    closed = _closed(history)
    failed = keys(history.failed)

    def judged(candidates: Candidates, encoded: Floats) -> Floats:
        shut = np.isin(pair_keys(candidates, encoded), closed)
        shut |= np.isin(keys(candidates), failed)
        return np.where(shut, -np.inf, score(candidates, encoded))

    candidates = pool[rng.integers(len(pool), size=_PAIRS)]
    encoded = riders.sample(_PAIRS, rng)
    values = judged(candidates, encoded)
    best = int(np.argmax(values))
    row, rider, height = candidates[best], encoded[best], values[best]
    for turn in range(_TURNS):
        near = riders.nudged(rider, _COMPANIONS // 2, rng)
        far = riders.sample(_COMPANIONS // 2, rng)
        encoded = np.vstack([rider[None, :], near, far])
        values = judged(np.tile(row, (len(encoded), 1)), encoded)
        rider, height = encoded[int(np.argmax(values))], float(values.max())
        some = pool if len(pool) <= _WIDTHS else pool[rng.integers(len(pool), size=_WIDTHS)]
        some = np.vstack([row[None, :], some])
        values = judged(some, np.tile(rider, (len(some), 1)))
        moved = values.max() > height or turn == 0
        row, height = some[int(np.argmax(values))], float(values.max())
        if not moved:
            break
    return None if not np.isfinite(height) else (row, rider)


def pair_keys(candidates: Candidates, riders: Floats) -> NDArray[np.uint64]:
    """Each pair as one number, companions to six decimals."""
    return keys(np.hstack([candidates, np.round(riders * 1e6).astype(np.int64)]))


def _closed(history: History) -> NDArray[np.uint64]:
    found = [np.empty(0, dtype=np.uint64)]
    if history.riders is not None and len(history.riders):
        found.append(
            pair_keys(history.observed[history.complete], history.riders[history.complete])
        )
    if history.pending_riders is not None and len(history.pending_riders):
        found.append(pair_keys(history.pending, history.pending_riders))
    return np.concatenate(found)
