"""The history: what a study has tried so far, in the form that the suggester learns from.

A ledger and an Optuna study are both read as `TriedCandidate`s, whose `TriedState` says what a
trial means to the search, whatever its storage calls it; `make_history` stacks them. So a report,
a worker and a sampler that look at the same trials see the same history.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..space.feasible_set import stack_rows
from ..space.neighbourhood import Candidates, hash_rows
from ..space.space import Space
from ..surrogate.observations import Floats

_TOP_COUNT = 4


class TriedState(enum.Enum):
    """What a trial means to the search.

    Attributes:
        COMPLETE: It was trained to its end and has a metric.
        PENDING: It is in training, or waits for it.
        FAILED: It gave no metric (it raised, diverged, was killed or ran out of memory), or broke
            a measured limit before it was trained: its neighbours are likely to do the same.
        REFUSED: It does not fit some device; that tells nothing about its neighbours here.
        SKIPPED: It was stopped early, by a comparison with others or by a person.
    """

    COMPLETE = "complete"
    PENDING = "pending"
    FAILED = "failed"
    REFUSED = "refused"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, eq=False)
class TriedCandidate:
    """One trial as the search sees it.

    Attributes:
        row: Its widths, [d].
        state: What it means.
        scores: (fidelity, metric) pairs, higher metrics being better; several where it was
            compared with others on its way.
        violations: What was measured against limits, [c]: at most 0 keeps the limit, NaN was not
            measured.
        encoded_companions: Its encoded companions, [e]; None where only widths are searched.
    """

    row: NDArray[np.int64]
    state: TriedState
    scores: Sequence[tuple[float, float]] = ()
    violations: Sequence[float] = ()
    encoded_companions: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """What a study has tried so far.

    Attributes:
        observed: Candidates with a metric, [n, d].
        values: Their metrics, [n], higher is better.
        pending: Candidates in training now, [m, d]: their metric is still to come.
        failed: Candidates that failed or broke a measured limit untrained, [k, d].
        refused: Candidates that some device cannot hold, [r, d]; None for none.
        skipped: Candidates that were stopped early, [j, d]; None for none.
        fidelity: How long each observed one was trained, [n], such as epochs; None where all were
            trained alike. Only the longest training makes a candidate count as tried.
        constraint_values: What was measured of the observed ones against limits, [n, c]: at most 0
            keeps the limit, NaN was not measured; None for no such limit.
        encoded_companions: Encoded companions of the observed ones, [n, e]; None where only widths
            are searched. Then widths are never repeated; with companions, pairs are not.
        pending_encoded_companions: Encoded companions of the pending ones, [m, e].
    """

    observed: Candidates
    values: Floats
    pending: Candidates
    failed: Candidates
    refused: Candidates | None = None
    skipped: Candidates | None = None
    fidelity: Floats | None = None
    constraint_values: Floats | None = None
    encoded_companions: Floats | None = None
    pending_encoded_companions: Floats | None = None

    @property
    def is_full_fidelity(self) -> NDArray[np.bool_]:
        """Which observed ones had the longest training, [n]."""
        if self.fidelity is None or not len(self.fidelity):
            return np.ones(len(self.values), dtype=bool)
        return np.asarray(self.fidelity == self.fidelity.max())

    @property
    def breaks_limit(self) -> NDArray[np.bool_]:
        """Which observed ones broke a measured limit, [n]."""
        if self.constraint_values is None:
            return np.zeros(len(self.values), dtype=bool)
        return np.asarray((self.constraint_values > 0).any(axis=1))

    @property
    def is_proven(self) -> NDArray[np.bool_]:
        """Which observed ones were trained to the end and kept every measured limit, [n]."""
        if self.constraint_values is None:
            return self.is_full_fidelity
        return self.is_full_fidelity & np.asarray((self.constraint_values <= 0).all(axis=1))

    @property
    def tried(self) -> Candidates:
        """Every candidate that must not be suggested again."""
        optional_parts = [part for part in (self.refused, self.skipped) if part is not None]
        return np.vstack(
            [
                self.observed[self.is_full_fidelity],
                self.pending,
                self.failed,
                *optional_parts,
            ]
        )

    @property
    def top_observed(self) -> Candidates:
        """The few observed candidates with the best metrics: a draw includes their neighbours."""
        return self.observed[np.argsort(-self.values, kind="stable")[:_TOP_COUNT]]

    def is_excluded(
        self, candidates: Candidates, companion_row: Floats | None = None
    ) -> NDArray[np.bool_]:
        """Return which candidates can never be the answer, [n]: they failed or broke a limit.

        Args:
            candidates: Widths, [n, d].
            companion_row: The companions that all of them would have, [e]: a measured limit is
                broken by a pair, a failure is held against the widths.
        """
        is_excluded = np.isin(hash_rows(candidates), hash_rows(self.failed))
        if self.refused is not None:
            is_excluded |= np.isin(hash_rows(candidates), hash_rows(self.refused))
        return is_excluded | self._is_among(candidates, companion_row, self.breaks_limit)

    def has_proven(
        self, candidates: Candidates, companion_row: Floats | None = None
    ) -> NDArray[np.bool_]:
        """Return which candidates are among the proven ones, [n]; arguments as of `is_excluded`."""
        return self._is_among(candidates, companion_row, self.is_proven)

    def _is_among(
        self, candidates: Candidates, companion_row: Floats | None, selected: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return which candidates are among the selected observed ones, [n]."""
        if not selected.any():
            return np.zeros(len(candidates), dtype=bool)
        if companion_row is None or self.encoded_companions is None:
            return np.isin(hash_rows(candidates), hash_rows(self.observed[selected]))
        companion_rows = np.tile(companion_row, (len(candidates), 1))
        return np.isin(
            hash_pairs(candidates, companion_rows),
            hash_pairs(self.observed[selected], self.encoded_companions[selected]),
        )

    def with_pending(self, widths: Candidates, encoded_companions: Floats | None) -> History:
        """Return the history with more candidates in training, [k, d]."""
        pending_encoded_companions = self.pending_encoded_companions
        if encoded_companions is not None:
            pending_encoded_companions = (
                encoded_companions
                if pending_encoded_companions is None
                else np.vstack([pending_encoded_companions, encoded_companions])
            )
        return replace(
            self,
            pending=np.vstack([self.pending, widths]),
            pending_encoded_companions=pending_encoded_companions,
        )


def make_history(
    tried: Sequence[TriedCandidate],
    space: Space,
    *,
    constraint_count: int = 0,
    companion_count: int | None = None,
    has_fidelities: bool = False,
) -> History:
    """Stack what was tried.

    Args:
        tried: In the order of the trials.
        space: The lattice.
        constraint_count: Number of measured limits, c.
        companion_count: Number of encoded companion columns, e; None where only widths are
            searched.
        has_fidelities: Whether trainings of several lengths are told apart.
    """

    def rows_in(state: TriedState) -> Candidates:
        return stack_rows([trial.row for trial in tried if trial.state is state], space)

    observed = [(trial, *score) for trial in tried for score in trial.scores]
    pending = [trial for trial in tried if trial.state is TriedState.PENDING]
    return History(
        observed=stack_rows([trial.row for trial, _, _ in observed], space),
        values=np.asarray([value for _, _, value in observed], dtype=np.float64),
        pending=rows_in(TriedState.PENDING),
        failed=rows_in(TriedState.FAILED),
        refused=rows_in(TriedState.REFUSED),
        skipped=rows_in(TriedState.SKIPPED),
        fidelity=np.asarray([fidelity for _, fidelity, _ in observed], dtype=np.float64)
        if has_fidelities
        else None,
        constraint_values=np.asarray([trial.violations for trial, _, _ in observed]).reshape(
            len(observed), constraint_count
        )
        if constraint_count
        else None,
        encoded_companions=None
        if companion_count is None
        else _stack_companions([trial for trial, _, _ in observed], companion_count),
        pending_encoded_companions=None
        if companion_count is None
        else _stack_companions(pending, companion_count),
    )


def _stack_companions(tried: Sequence[TriedCandidate], count: int) -> Floats:
    return np.asarray([trial.encoded_companions for trial in tried], dtype=np.float64).reshape(
        len(tried), count
    )


def hash_pairs(candidates: Candidates, encoded_companions: Floats) -> NDArray[np.uint64]:
    """Return each pair of widths and companions as one number, [n]; companions to six decimals."""
    return hash_rows(np.hstack([candidates, np.round(encoded_companions * 1e6).astype(np.int64)]))
