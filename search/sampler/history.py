"""The history: what a study has tried so far, in the form the proposer learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..space.feasible_set import Candidates

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """What a study has tried so far.

    Attributes:
        observed: Candidates with a metric, [n, d].
        values: Their metrics, [n], higher is better.
        pending: Candidates in training now, [m, d]: their metric is still to come.
        failed: Candidates that gave no metric (NaN, out of memory), [k, d].
        skipped: Candidates tried that tell nothing (pruned, or refused), [j, d]; None for none.
        fidelity: How long each observed one was trained, [n], such as epochs; None where all were
            trained alike. Only the longest training makes a candidate count as tried.
        constraint_values: What was measured of the observed ones against limits, [n, c]: at most 0 keeps
            the limit, NaN was not measured; None for no such limit.
        encoded_companions: Encoded companions of the observed ones, [n, e]; None where only widths are
            searched. Then widths alone are never repeated; with riders widths may be, a pair not.
        pending_encoded_companions: Encoded companions of the pending ones, [m, e].
    """

    observed: Candidates
    values: Floats
    pending: Candidates
    failed: Candidates
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
    def tried(self) -> Candidates:
        """Every candidate that must not be proposed again."""
        parts = [self.observed[self.is_full_fidelity], self.pending, self.failed]
        return np.vstack(parts if self.skipped is None else [*parts, self.skipped])

    def with_pending(self, widths: Candidates, encoded_companions: Floats | None) -> History:
        """The history with more candidates in training, [k, d]."""
        pending_encoded_companions = self.pending_encoded_companions
        if encoded_companions is not None:
            pending_encoded_companions = (
                encoded_companions
                if pending_encoded_companions is None
                else np.vstack([pending_encoded_companions, encoded_companions])
            )
        return History(
            observed=self.observed,
            values=self.values,
            pending=np.vstack([self.pending, widths]),
            failed=self.failed,
            skipped=self.skipped,
            fidelity=self.fidelity,
            constraint_values=self.constraint_values,
            encoded_companions=self.encoded_companions,
            pending_encoded_companions=pending_encoded_companions,
        )
