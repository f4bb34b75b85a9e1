"""Polynomials for all costs of a class of candidates, from as few traces as there are unknowns.

Parameters and FLOPs of a network are polynomials of its widths, of degree 2 for most and 3 or 4
where heads and head size move together. So is every value of the memory's timeline, and the peak
is their maximum. A fit traces as many candidates as a polynomial has coefficients, solves for them
in whole numbers, and must then predict held-out candidates to the last unit; what does not gets a
higher degree.

Entry points: `fit_costs`, which returns a `CostFit` or None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from ...errors import CostError
from ...trace.cuda_allocator import Integers
from ...trace.trace import Trace
from ..registry import MAX_COST, QUANTITIES, Quantity
from .lattice import Exponents, StepLattice
from .polynomial import Polynomials, fit_polynomials, independent_points, stack_polynomials

DEGREES = (2, 3, 4)
"""Total degrees tried in turn."""

MAX_TRACES = 300
"""Traces that a fit may cost; 9 widths at degree 3 need 220, at degree 4 715."""

HELD_OUT_POINTS = 4
"""Random candidates, beside the special ones, that every fitted polynomial must predict exactly.

A wrong polynomial of degree 4 is right at a random one of 64 values with a chance of 1 in 16
(Schwartz and Zippel), at four with 1 in 65,536; what is wrong in a thin part only is not met by
more of them either."""

TraceRow = Callable[[Integers], Trace]
"""`(row of widths) -> what was traced`, cached by the caller."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class CostFit:
    """Exact costs of the candidates of one lattice.

    Attributes:
        polynomials: Those of all quantities, one below another.
        sizes: How many of them belong to each quantity; its value is their maximum.
    """

    polynomials: Polynomials
    sizes: Mapping[str, int]

    @property
    def lattice(self) -> StepLattice:
        """Where the fit holds."""
        return self.polynomials.lattice

    def __call__(self, candidates: Integers) -> dict[str, Integers]:
        """Return the quantities of a batch by name, for candidates [n, d]; see `QUANTITIES`.

        Raises:
            CostError: A value does not fit into 64 bits.
        """
        values = self.polynomials(candidates)
        if values.dtype == np.object_ and values.max(initial=0) > MAX_COST:
            raise CostError(
                f"a cost of these candidates is {values.max()}, the largest that can be stored is "
                f"{MAX_COST}: lower the upper ends of the widths."
            )
        quantities, start = {}, 0
        for name, size in self.sizes.items():
            quantities[name] = values[start : start + size].max(axis=0).astype(np.int64)
            start += size
        return quantities


def fit_costs(
    pool: Integers,
    special: Integers,
    trace_row: TraceRow,
    lattice: StepLattice | None = None,
    likely: Exponents | None = None,
) -> CostFit | None:
    """Return exact polynomials for all costs, None where some cost is no polynomial.

    Args:
        pool: Distinct candidates [n, d] in random order, of which the points to trace are chosen.
        special: Candidates [k, d] that must be predicted too.
        trace_row: Traces one candidate.
        lattice: Where the polynomials are written. None for the lattice that these candidates span,
            which is tried too where no whole coefficients do it on the one given.
        likely: Exponents of the basis functions that are enough if the guess is right: tried before
            all of a degree.

    Raises:
        ModelError: The builder raised, or returned no module.
        CostError: The costs depend on data, or the step fails.
    """
    if lattice is not None:
        fit = _fit_on(lattice, pool, special, trace_row, likely)
        if fit is not None:
            return fit
    own = StepLattice.spanning(np.concatenate([pool, special]))
    return (
        None
        if lattice is not None and lattice.equals(own)
        else _fit_on(own, pool, special, trace_row, likely)
    )


def _fit_on(
    lattice: StepLattice,
    pool: Integers,
    special: Integers,
    trace_row: TraceRow,
    likely: Exponents | None,
) -> CostFit | None:
    test = np.concatenate([pool[-HELD_OUT_POINTS:], special])
    fitted: dict[str, Polynomials] = {}
    for degree in DEGREES if likely is None else (likely, *DEGREES):
        rows, columns = independent_points(lattice, pool, degree)
        if len(rows) > min(MAX_TRACES, len(pool) - min(HELD_OUT_POINTS, len(pool) // 4)):
            if degree == likely:
                continue
            return None
        for quantity in QUANTITIES:
            if quantity.name not in fitted:
                values = _distinct_columns([quantity.read(trace_row(row)) for row in pool[rows]])
                polynomials = fit_polynomials(lattice, pool[rows], values, degree, columns)
                if polynomials is not None and _predicts_exactly(
                    polynomials, test, quantity, trace_row
                ):
                    fitted[quantity.name] = polynomials.upper_envelope()
        if len(fitted) == len(QUANTITIES):
            names = [quantity.name for quantity in QUANTITIES]
            return CostFit(
                polynomials=stack_polynomials([fitted[name] for name in names]),
                sizes={name: len(fitted[name].coefficients) for name in names},
            )
    return None


def predicts(fit: CostFit, candidates: Integers, trace_row: TraceRow) -> bool:
    """Return whether a fit predicts candidates [n, d] as they are traced, to the last unit."""
    predicted = fit(candidates)
    return all(
        int(predicted[quantity.name][index]) == max(quantity.read(trace_row(row)))
        for index, row in enumerate(candidates)
        for quantity in QUANTITIES
    )


def _predicts_exactly(
    polynomials: Polynomials, test: Integers, quantity: Quantity, trace_row: TraceRow
) -> bool:
    predicted = polynomials(test).max(axis=0).tolist()
    return all(
        value == max(quantity.read(trace_row(row)))
        for value, row in zip(predicted, test, strict=True)
    )


def _distinct_columns(values: list[tuple[int, ...]]) -> Integers:
    """Return values [points, K] without repeated columns.

    Where the number of operations depends on the widths no timeline can be fitted: the peaks alone
    are returned, which may yet be polynomials.
    """
    if len({len(row) for row in values}) > 1:
        values = [(max(row),) for row in values]
    return np.unique(np.array(values, dtype=np.int64), axis=1)
