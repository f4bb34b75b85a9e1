"""Neighbourhoods on the lattice: candidates one step away, and swaps of one width for another.

Where a limit binds, widening one layer requires narrowing another: `swap_moves` are the moves along
the limit that single steps cannot make. Entry points: `neighbours`, `swap_moves`; `hash_rows` and
`unique_rows` compare candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .constraints import Order
from .space import Space

Candidates = NDArray[np.int64]


def neighbours(space: Space, candidates: Candidates) -> Candidates:
    """Return all candidates one lattice step from any of the given ones, once each; [m, d]."""
    if not len(candidates):
        return candidates
    if _has_coupled_widths(space):
        return unique_rows(np.vstack([space.neighbours(row) for row in candidates]))
    dimensions = space.dimensions
    shifts = np.vstack([np.eye(dimensions, dtype=np.int64), -np.eye(dimensions, dtype=np.int64)])
    return _apply_shifts(
        space, candidates, np.broadcast_to(shifts, (len(candidates), *shifts.shape))
    )


def swap_moves(
    space: Space, candidates: Candidates, rng: np.random.Generator, count: int
) -> Candidates:
    """Return random candidates with one width a step up and another a step down; [m, d].

    Args:
        space: The lattice.
        candidates: Where to start, [k, d], each in the space.
        rng: Draws the pairs of widths.
        count: Swaps tried from each start.
    """
    if not len(candidates) or space.dimensions < 2:
        return candidates[:0]
    if _has_coupled_widths(space):
        neighbours_by_candidate = [space.neighbours(row) for row in candidates]
        sampled_neighbours = [
            rows[rng.integers(len(rows), size=min(count, 8))]
            for rows in neighbours_by_candidate
            if len(rows)
        ]
        return (
            neighbours(space, np.vstack(sampled_neighbours))
            if sampled_neighbours
            else candidates[:0]
        )
    size = (len(candidates), count)
    up = rng.integers(space.dimensions, size=size)
    down = (up + rng.integers(1, space.dimensions, size=size)) % space.dimensions
    identity = np.eye(space.dimensions, dtype=np.int64)
    return _apply_shifts(space, candidates, identity[up] - identity[down])


def _has_coupled_widths(space: Space) -> bool:
    """Return whether widths must move together: single steps alone would leave the space."""
    return not all(isinstance(constraint, Order) for constraint in space.constraints)


def _apply_shifts(space: Space, candidates: Candidates, shifts: NDArray[np.int64]) -> Candidates:
    """Return candidates moved by steps of the lattice, [k, moves, d], that are in the space."""
    moved_columns = []
    is_inside = np.ones(shifts.shape[:2], dtype=bool)
    for index, width in enumerate(space.widths):
        values = np.asarray(width.values)
        target_indices = (
            np.searchsorted(values, candidates[:, index])[:, None] + shifts[:, :, index]
        )
        is_inside &= (target_indices >= 0) & (target_indices < len(values))
        moved_columns.append(values[np.clip(target_indices, 0, len(values) - 1)])
    moved = np.stack(moved_columns, axis=-1)[is_inside]
    if space.constraints:
        moved = moved[space.contains_rows(moved)]
    return unique_rows(moved)


def hash_rows(candidates: Candidates) -> NDArray[np.uint64]:
    """Return each row as one number, so that a million rows are compared as sets at once.

    A multilinear hash modulo 2^64 with odd random factors. Two candidates share a hash once in some
    2^63 pairs; then an untried one counts as tried, which does no harm.
    """
    factors = np.random.default_rng(0).integers(2**63, size=candidates.shape[1], dtype=np.uint64)
    hashes = (candidates.astype(np.uint64) * (2 * factors + 1)).sum(axis=1, dtype=np.uint64)
    return np.asarray(hashes, dtype=np.uint64)


def unique_rows(candidates: Candidates) -> Candidates:
    """Return the candidates without repetition, in an order that depends on them alone."""
    _, first_indices = np.unique(hash_rows(candidates), return_index=True)
    return candidates[first_indices]
