"""Integer polynomials of a candidate's widths, fitted exactly and evaluated over arrays.

A cost that is a polynomial of the widths takes whole numbers to whole numbers, and such a
polynomial has whole coefficients in the binomial basis of the lattice steps u (see `lattice`):

    cost(u) = Σ_a c_a · C(u_1, a_1) · … · C(u_d, a_d),   a_1 + … + a_d ≤ degree

(Pólya 1915; Cahen & Chabert, *Integer-Valued Polynomials*, 1997). Worked example: the parameters
of Linear(w, w) on the lattice 16, 32, …: w² + w with w = 16 + 16u is 272 + 784·C(u, 1) +
512·C(u, 2).

Two consequences are used. The coefficients are found by elimination modulo two primes of 31 bits
and the Chinese remainder theorem: no rounding, no growth. And as every basis function is ≥ 0 on
the lattice, a polynomial whose coefficients are all ≤ another's never exceeds it, so it can be
left out of a maximum.

Entry points: `fit_polynomials`, `Polynomials`, `stack_polynomials`; `independent_points` picks the
points that are worth tracing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import lcm
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...trace.cuda_allocator import Integers
from .lattice import Exponents, StepLattice, basis_bound, basis_values, monomial_exponents

_PRIMES = (2_147_483_629, 2_147_483_587)
"""The two largest primes below 2**31 − 1: products of residues stay within 62 bits."""

_DENOMINATORS = (1, 2, 3, 4, 6, 8, 12, 24)
"""Tried in turn: on a lattice thinned by ties or divisibility a fit may need a fraction."""

_FLOAT_EXACT = 2**53
"""Integers up to here are exact in float64 (IEEE 754)."""

_INT_EXACT = 2**63 - 1
"""Largest value of int64."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Polynomials:
    """K polynomials over one lattice.

    Attributes:
        lattice: Where they live.
        powers: Exponents of the basis, M of them.
        coefficients: Integers [K, M] of Python's unbounded kind.
        denominator: What the sums are divided by.
    """

    lattice: StepLattice
    powers: Exponents
    coefficients: NDArray[np.object_]
    denominator: int = 1

    def __call__(self, candidates: Integers) -> NDArray[Any]:
        """Return the values [K, n]: int64, or Python integers where one might not fit.

        Args:
            candidates: Widths [n, d], on the lattice.
        """
        steps = self.lattice.steps(candidates)
        dtype = self._exact_dtype(steps)
        sums = self.coefficients.astype(dtype) @ basis_values(steps, self.powers, dtype)
        if dtype is np.float64:
            sums = sums.astype(np.int64)
        values: NDArray[Any] = sums if self.denominator == 1 else sums // self.denominator
        return values

    def upper_envelope(self) -> "Polynomials":
        """Return those polynomials that no other dominates: the maximum stays the same.

        p is left out if another q has c_a(q) ≥ c_a(p) for every basis function a.
        """
        envelope: list[NDArray[np.object_]] = []
        for row in sorted(set(map(tuple, self.coefficients)), key=sum, reverse=True):
            candidate = np.array(row, dtype=object)
            if not any((other >= candidate).all() for other in envelope):
                envelope.append(candidate)
        return replace(self, coefficients=np.array(envelope, dtype=object))

    @cached_property
    def _coefficient_bound(self) -> int:
        return max(int(np.abs(self.coefficients).sum(axis=1).max(initial=0)), 1)

    def _exact_dtype(self, steps: Integers) -> Any:
        """Return the fastest number type in which no sum on the way can be inexact."""
        bound = basis_bound(steps, self.powers) * self._coefficient_bound
        if bound < _FLOAT_EXACT:
            return np.float64
        return np.int64 if bound < _INT_EXACT else np.object_


def stack_polynomials(groups: Sequence[Polynomials]) -> Polynomials:
    """Return the polynomials of all parts, over one lattice, one below another."""
    powers = tuple(dict.fromkeys(power for group in groups for power in group.powers))
    denominator = lcm(*(group.denominator for group in groups))
    rows = []
    for group in groups:
        block = np.zeros((len(group.coefficients), len(powers)), dtype=object)
        columns = [powers.index(power) for power in group.powers]
        block[:, columns] = group.coefficients * (denominator // group.denominator)
        rows.append(block)
    return Polynomials(
        lattice=groups[0].lattice,
        powers=powers,
        coefficients=np.concatenate(rows),
        denominator=denominator,
    )


def independent_points(
    lattice: StepLattice, candidates: Integers, degree: int | Exponents
) -> tuple[list[int], list[int]]:
    """Return rows of candidates and columns of the basis that determine a fit.

    The rows are as few as the rank of the basis over all candidates given; where constraints make
    columns depend on one another, only as many columns are returned.

    Args:
        lattice: Where the candidates live.
        candidates: Widths [n, d] to choose from.
        degree: Total degree, or the exponents of the basis functions.
    """
    prime = _PRIMES[0]
    matrix = (_basis(lattice, candidates, degree).T % prime).astype(np.int64)
    free = np.ones(len(matrix), dtype=bool)
    rows, columns = [], []
    for column in range(matrix.shape[1]):
        nonzero = np.flatnonzero(free & (matrix[:, column] != 0))
        if not len(nonzero):
            continue
        pivot = int(nonzero[0])
        rows.append(pivot)
        columns.append(column)
        free[pivot] = False
        scale = matrix[:, column] * pow(int(matrix[pivot, column]), -1, prime) % prime
        scale[~free] = 0
        matrix = (matrix - scale[:, None] * matrix[pivot] % prime) % prime
    return rows, columns


def fit_polynomials(
    lattice: StepLattice,
    candidates: Integers,
    values: NDArray[Any],
    degree: int | Exponents,
    columns: list[int],
) -> Polynomials | None:
    """Return the polynomials through the values, None where no whole coefficients do it.

    Args:
        lattice: Where the candidates live.
        candidates: Widths [r, d], chosen by `independent_points`.
        values: Integers [r, K].
        degree: Total degree, or the exponents of the basis functions.
        columns: Basis functions to use, as many as candidates, chosen by `independent_points`.
    """
    powers = _exponents(candidates.shape[1], degree)
    used_powers = tuple(powers[column] for column in columns)
    basis = basis_values(lattice.steps(candidates), used_powers, np.object_).T
    exact = values.astype(object)
    residues = [_solve(basis, exact, prime) for prime in _PRIMES]
    for denominator in _DENOMINATORS:
        coefficients = _chinese_remainder(
            [
                residue * denominator % prime
                for residue, prime in zip(residues, _PRIMES, strict=True)
            ]
        )
        if (basis @ coefficients == exact * denominator).all():
            return Polynomials(
                lattice=lattice,
                powers=used_powers,
                coefficients=coefficients.T,
                denominator=denominator,
            )
    return None


def _exponents(dimensions: int, degree: int | Exponents) -> Exponents:
    return monomial_exponents(dimensions, degree) if isinstance(degree, int) else degree


def _basis(lattice: StepLattice, candidates: Integers, degree: int | Exponents) -> NDArray[Any]:
    powers = _exponents(candidates.shape[1], degree)
    steps = lattice.steps(candidates)
    fits = basis_bound(steps, powers) < _INT_EXACT
    return basis_values(steps, powers, np.int64 if fits else np.object_)


def _solve(basis: NDArray[Any], values: NDArray[Any], prime: int) -> Integers:
    """Solve basis · x = values modulo a prime by Gauss-Jordan elimination; [r, r] and [r, K]."""
    order = len(basis)
    system = (np.concatenate([basis, values], axis=1) % prime).astype(np.int64)
    for column in range(order):
        pivot = column + int(np.flatnonzero(system[column:, column])[0])
        system[[column, pivot]] = system[[pivot, column]]
        system[column] = system[column] * pow(int(system[column, column]), -1, prime) % prime
        scale = system[:, column].copy()
        scale[column] = 0
        system = (system - scale[:, None] * system[column] % prime) % prime
    return system[:, order:]


def _chinese_remainder(residues: list[Integers]) -> NDArray[np.object_]:
    """Return the whole numbers nearest 0 with these residues, by the Chinese remainder theorem."""
    first, second = _PRIMES
    lift = (residues[1] - residues[0]) % second * pow(first, -1, second) % second
    combined = residues[0].astype(object) + lift.astype(object) * first
    modulus = first * second
    centred: NDArray[np.object_] = np.where(combined > modulus // 2, combined - modulus, combined)
    return centred
