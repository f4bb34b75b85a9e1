"""Which basis functions costs probably consist of, from the shapes of the parameters alone.

A layer's parameters, operations and activations are products of its sizes, and these are known of
models that were built without a trace. With heads h of size s and a hidden width f, sizes are h·s
and f, parameters h²s² and hsf: 13 basis functions where all of degree 4 are 35, and as many traces
are enough. It is a guess: a fit has to predict held-out traces as any other.

Entry point: `likely_exponents`.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np

from ...trace.cuda_allocator import Integers
from .lattice import Exponents, monomial_exponents

MAX_FUNCTIONS = 200
"""Most basis functions that are worth a guess."""

Shapes = tuple[tuple[int, ...], ...]


def likely_exponents(rows: Integers, shapes: Sequence[Shapes]) -> Exponents | None:
    """Return exponents of basis functions, closed downwards; None where sizes are no polynomials.

    Args:
        rows: Candidates [n, d] that were built.
        shapes: Of each candidate's parameters; those of the commonest structure are used.
    """
    kinds = [tuple(len(shape) for shape in candidate) for candidate in shapes]
    if not kinds:
        return None
    common = Counter(kinds).most_common(1)[0][0]
    members = [index for index, kind in enumerate(kinds) if kind == common]
    # A parameter's sizes in all candidates; the same ones occur again and again.
    sizes_by_parameter = {
        tuple(
            tuple(shapes[index][parameter][axis] for index in members) for axis in range(dimensions)
        )
        for parameter, dimensions in enumerate(common)
    }
    distinct = {sizes for parameter in sizes_by_parameter for sizes in parameter}
    terms = {sizes: _terms(rows[members], np.array(sizes)) for sizes in distinct}
    found = {(0,) * rows.shape[1], *map(tuple, np.eye(rows.shape[1], dtype=int).tolist())}
    for parameter in sizes_by_parameter:
        monomials = {(0,) * rows.shape[1]}
        for sizes in parameter:
            factor = terms[sizes]
            if factor is None:
                return None
            found |= factor
            monomials = {
                tuple(first + second for first, second in zip(left, right, strict=True))
                for left in monomials
                for right in factor
            }
        found |= monomials
    closed = {
        lower for powers in found for lower in product(*(range(power + 1) for power in powers))
    }
    if len(closed) > MAX_FUNCTIONS:
        return None
    return tuple(sorted(closed, key=lambda powers: (sum(powers), powers)))


def _terms(rows: Integers, sizes: Integers) -> set[tuple[int, ...]] | None:
    """Return the monomials that a size consists of, of the lowest degree that does."""
    for degree in (0, 1, 2):
        exponents = monomial_exponents(rows.shape[1], degree)
        columns = np.array(
            [(rows.astype(np.float64) ** powers).prod(axis=1) for powers in exponents]
        )
        scale = np.abs(columns).max(axis=1)
        basis = (columns / scale[:, None]).T
        if len(rows) <= len(exponents):
            return None
        solution = np.linalg.lstsq(basis, sizes.astype(np.float64), rcond=1e-10)[0]
        if np.abs(basis @ solution - sizes).max() < 1e-6 * max(sizes.max(), 1):
            needed = np.abs(solution) > 1e-6 * max(sizes.max(), 1)
            return {
                powers for powers, is_needed in zip(exponents, needed, strict=True) if is_needed
            }
    return None
