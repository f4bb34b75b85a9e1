"""The lattice on which candidates live, and the functions that costs are written in.

A candidate's widths become lattice steps u_i = (width_i − origin_i) / step_i ≥ 0, and a basis
function is a product of binomials C(u_1, a_1) · … · C(u_d, a_d): whole, and never negative.

Entry points: `StepLattice`, `monomial_exponents`, `basis_values`, `basis_bound`.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...trace.cuda_allocator import Integers

Exponents = tuple[tuple[int, ...], ...]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class StepLattice:
    """Where polynomials live: candidates [n, d] become lattice steps u ≥ 0.

    Attributes:
        origin: Smallest width in each dimension, [d].
        step: Greatest common divisor of the differences in each dimension, ≥ 1, [d].
        top: Largest width in each dimension, [d].
    """

    origin: Integers
    step: Integers
    top: Integers

    @classmethod
    def spanning(cls, candidates: Integers) -> "StepLattice":
        """Return the coarsest lattice that holds all candidates [n, d]."""
        origin = candidates.min(axis=0)
        step = np.gcd.reduce(candidates - origin, axis=0)
        return cls(origin=origin, step=np.maximum(step, 1), top=candidates.max(axis=0))

    def contains(self, candidates: Integers) -> NDArray[np.bool_]:
        """Return for each candidate whether it lies on the lattice and within its box."""
        offset = candidates - self.origin
        inside: NDArray[np.bool_] = (
            (offset >= 0) & (candidates <= self.top) & (offset % self.step == 0)
        ).all(axis=1)
        return inside

    def equals(self, other: "StepLattice") -> bool:
        """Return whether the other lattice has the same candidates."""
        return all(
            (getattr(self, name) == getattr(other, name)).all()
            for name in ("origin", "step", "top")
        )

    def steps(self, candidates: Integers) -> Integers:
        """Return u [n, d] of candidates on the lattice."""
        return (candidates - self.origin) // self.step


def monomial_exponents(dimensions: int, degree: int) -> Exponents:
    """Return all a with sum ≤ degree, C(dimensions + degree, degree) of them."""
    axes = range(dimensions)
    return tuple(
        tuple(chosen.count(axis) for axis in axes)
        for total in range(degree + 1)
        for chosen in combinations_with_replacement(axes, total)
    )


def basis_values(steps: Integers, powers: Exponents, dtype: Any) -> NDArray[Any]:
    """Return the basis [len(powers), n] at lattice steps [n, d].

    Args:
        steps: Lattice steps.
        powers: As `monomial_exponents` returns them.
        dtype: np.float64 or np.int64 where `basis_bound` allows it, else object.
    """
    rows: dict[tuple[int, int], NDArray[Any]] = {}
    for axis in range(steps.shape[1]):
        linear = rows[axis, 1] = steps[:, axis].astype(dtype)
        for power in range(2, max((multi_index[axis] for multi_index in powers), default=0) + 1):
            rows[axis, power] = rows[axis, power - 1] * (linear - (power - 1)) // power
    result = np.ones((len(powers), len(steps)), dtype=dtype)
    for index, multi_index in enumerate(powers):
        for axis, power in enumerate(multi_index):
            if power:
                result[index] *= rows[axis, power]
    return result


def basis_bound(steps: Integers, powers: Exponents) -> int:
    """Return a bound on every feature and every product on the way to it."""
    tops = [int(top) for top in steps.max(axis=0, initial=0)]
    largest = 1
    for multi_index in powers:
        value = 1
        for top, power in zip(tops, multi_index, strict=True):
            value *= max(comb(top, power) * max(power, 1), 1)
        largest = max(largest, value)
    return largest
