"""Joint search of widths and companion parameters, by coordinate ascent.

Widths form a lattice that can be scored whole, companions may be continuous; so the best pair is
found from random pairs, then by improving one part while the other is fixed. Entry point:
`optimise_jointly`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..space.neighbourhood import Candidates, hash_rows
from ..surrogate.observations import Floats
from .companions import CompanionParameters
from .history import History, hash_pairs

# Random pairs to start from, candidates and companions scored in a round, and rounds.
_INITIAL_PAIRS = 4096
_CANDIDATES_PER_ROUND = 4096
_COMPANIONS_PER_ROUND = 256
_MAX_ROUNDS = 3


class ScoreFunction(Protocol):
    """Scores pairs of widths and companions."""

    def __call__(
        self,
        candidates: Candidates,
        encoded_companions: Floats | None = None,
        *,
        noise: float = 0.0,
    ) -> Floats:
        """Return the scores, [n], higher being better; with the noise that a training has."""
        ...


def optimise_jointly(
    pool: Candidates,
    companion_parameters: CompanionParameters,
    score: ScoreFunction,
    history: History,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], Floats] | None:
    """Return the untried pair with the highest score: widths [d] and encoded companions [e].

    Args:
        pool: Feasible candidates, [n, d], n ≥ 1.
        companion_parameters: The companions.
        score: What to maximise.
        history: Pairs in it are excluded, and so are widths that failed.
        rng: Draws pairs and companions.

    Returns:
        The pair, or None where every pair that was scored is excluded.
    """
    tried_hashes = _tried_pair_hashes(history)
    failed_hashes = hash_rows(history.failed)

    def masked_score(candidates: Candidates, encoded_companions: Floats) -> Floats:
        is_excluded = np.isin(hash_pairs(candidates, encoded_companions), tried_hashes)
        is_excluded |= np.isin(hash_rows(candidates), failed_hashes)
        return np.where(is_excluded, -np.inf, score(candidates, encoded_companions))

    candidates = pool[rng.integers(len(pool), size=_INITIAL_PAIRS)]
    encoded_companions = companion_parameters.sample(_INITIAL_PAIRS, rng)
    scores = masked_score(candidates, encoded_companions)
    best_index = int(np.argmax(scores))
    best_widths, best_companions, best_score = (
        candidates[best_index],
        encoded_companions[best_index],
        scores[best_index],
    )
    for round_index in range(_MAX_ROUNDS):
        perturbed_rows = companion_parameters.perturbed(
            best_companions, _COMPANIONS_PER_ROUND // 2, rng
        )
        random_rows = companion_parameters.sample(_COMPANIONS_PER_ROUND // 2, rng)
        encoded_companions = np.vstack([best_companions[None, :], perturbed_rows, random_rows])
        scores = masked_score(
            np.tile(best_widths, (len(encoded_companions), 1)), encoded_companions
        )
        best_companions, best_score = (
            encoded_companions[int(np.argmax(scores))],
            float(scores.max()),
        )
        width_rows = (
            pool
            if len(pool) <= _CANDIDATES_PER_ROUND
            else pool[rng.integers(len(pool), size=_CANDIDATES_PER_ROUND)]
        )
        width_rows = np.vstack([best_widths[None, :], width_rows])
        scores = masked_score(width_rows, np.tile(best_companions, (len(width_rows), 1)))
        has_improved = scores.max() > best_score or round_index == 0
        best_widths, best_score = width_rows[int(np.argmax(scores))], float(scores.max())
        if not has_improved:
            break
    return None if not np.isfinite(best_score) else (best_widths, best_companions)


def _tried_pair_hashes(history: History) -> NDArray[np.uint64]:
    hashes = [np.empty(0, dtype=np.uint64)]
    if history.encoded_companions is not None and len(history.encoded_companions):
        hashes.append(
            hash_pairs(
                history.observed[history.is_full_fidelity],
                history.encoded_companions[history.is_full_fidelity],
            )
        )
    if history.pending_encoded_companions is not None and len(history.pending_encoded_companions):
        hashes.append(hash_pairs(history.pending, history.pending_encoded_companions))
    return np.concatenate(hashes)
