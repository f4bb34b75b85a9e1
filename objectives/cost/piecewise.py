"""Polynomials for a space in parts: one set of them for each way that a builder goes.

The parts are those of a `Partition`. The largest is fitted first; whatever else it predicts to the
last unit is served by the same polynomials, the rest gets its own. Parts of a few candidates are
not worth a fit: they are traced when they are asked for.

Entry points: `fit_piecewise`, which returns a `PiecewiseFit`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..trace.cuda_allocator import Integers
from .branches.partition import Partition
from .polynomials.fit import CostFit, TraceRow, fit_costs, predicts
from .polynomials.lattice import Exponents, StepLattice

TESTS_OF_A_PART = 2
"""Members of a part that polynomials of another must predict before they serve it too."""

MAX_TRACED_PART = 16
"""Members of a part up to which tracing them costs no more than a fit."""

MAX_TRACED_SHARE = 1 / 1024
"""Share of a space that cannot be listed up to which a part is traced when it is met."""

MAX_PARTS = 48
"""Parts that polynomials may be sought for."""

MAX_TRACED_ROWS = 256
"""Candidates of a listed space that may be left to be traced one by one."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PiecewiseFit:
    """Polynomials of the parts of a space.

    Attributes:
        partition: The parts.
        fits: The polynomials.
        fit_by_code: Which of them serves a part, by the part's code.
        is_complete: Whether so few candidates are served by none that these can be traced.
    """

    partition: Partition
    fits: tuple[CostFit, ...]
    fit_by_code: dict[int, int]
    is_complete: bool

    def assignments(self, candidates: Integers) -> Iterator[tuple[CostFit, NDArray[np.int64]]]:
        """Yield fits with the indices of the candidates [n, d] that they predict."""
        if not self.fits:
            return
        if not self.partition.questions and len(self.fits) == 1:
            indices = np.zeros(len(candidates), dtype=np.int64)
        else:
            codes, part = np.unique(self.partition.codes(candidates), return_inverse=True)
            serving = [self.fit_by_code.get(int(code), -1) for code in codes]
            indices = np.array(serving, dtype=np.int64)[part]
        for index, fit in enumerate(self.fits):
            mine = indices == index
            yield fit, np.flatnonzero(mine & fit.lattice.contains(candidates))


def fit_piecewise(
    partition: Partition,
    rows: Integers,
    all_rows: Integers,
    special: Integers,
    trace_row: TraceRow,
    *,
    is_listed: bool,
    likely: Exponents | None = None,
) -> PiecewiseFit:
    """Fit the parts of a space, the largest first.

    Args:
        partition: The parts.
        rows: Candidates [n, d] in random order, of which the points to trace are chosen.
        all_rows: All candidates that are known; of a listed space, all there are.
        special: Candidates that must be predicted where they belong to a part that is fitted.
        trace_row: Traces one candidate.
        is_listed: Whether `all_rows` is the whole space.
        likely: Exponents of the basis functions that are probably enough.

    Raises:
        ModelError: The builder raised, or returned no module.
        CostError: The costs depend on data, or the step fails.
    """
    row_codes, special_codes = partition.codes(rows), partition.codes(special)
    codes, counts = np.unique(partition.codes(all_rows), return_counts=True)
    lattice = StepLattice.spanning(all_rows)
    fits: list[CostFit] = []
    fit_by_code: dict[int, int] = {}
    is_unserved = False
    left_to_trace = 0
    for position, index in enumerate(np.argsort(-counts, kind="stable")):
        code, count = codes[index], int(counts[index])
        members = rows[row_codes == code]
        required = special[special_codes == code]
        is_small = count <= MAX_TRACED_PART or (
            not is_listed and count <= MAX_TRACED_SHARE * len(all_rows)
        )
        serving = _serving_fit(fits, members, required, trace_row, is_small=is_small)
        if serving is None and not is_small and position < MAX_PARTS:
            fit = fit_costs(members, required, trace_row, lattice, likely)
            if fit is not None:
                serving = len(fits)
                fits.append(fit)
        if serving is not None:
            fit_by_code[int(code)] = serving
        elif is_small:
            left_to_trace += count if is_listed else 0
        else:
            is_unserved = True
            if position == 0:
                break
    return PiecewiseFit(
        partition=partition,
        fits=tuple(fits),
        fit_by_code=fit_by_code,
        is_complete=bool(fits) and not is_unserved and left_to_trace <= MAX_TRACED_ROWS,
    )


def _serving_fit(
    fits: Sequence[CostFit],
    members: Integers,
    required: Integers,
    trace_row: TraceRow,
    *,
    is_small: bool,
) -> int | None:
    """Return which of the fits predicts a part, by a few of its members."""
    if is_small or not fits or not len(members):
        return None
    order = np.argsort(members.sum(axis=1), kind="stable")
    chosen = members[[int(order[-1]), 0][:TESTS_OF_A_PART]]
    tests = np.unique(np.concatenate([required, chosen]), axis=0)
    for index, fit in enumerate(fits):
        if fit.lattice.contains(members).all() and predicts(fit, tests, trace_row):
            return index
    return None
