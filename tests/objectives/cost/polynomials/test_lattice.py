"""Widths to lattice steps, and the basis on them."""

from math import comb

import numpy as np
import pytest
from widthwise.objectives.cost.polynomials.lattice import (
    StepLattice,
    basis_bound,
    basis_values,
    monomial_exponents,
)


def test_the_lattice_knows_its_points() -> None:
    lattice = StepLattice.spanning(np.array([[16, 3], [32, 3], [80, 3]]))
    assert (lattice.step.tolist(), lattice.steps(np.array([[80, 3]])).tolist()) == (
        [16, 1],
        [[4, 0]],
    )
    candidates = np.array([[48, 3], [40, 3], [96, 3], [0, 3], [48, 4]])
    assert lattice.contains(candidates).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(("dimensions", "degree"), [(1, 2), (3, 2), (2, 4), (9, 3)])
def test_there_are_as_many_basis_functions_as_monomials(dimensions: int, degree: int) -> None:
    powers = monomial_exponents(dimensions, degree)
    assert len(set(powers)) == len(powers) == comb(dimensions + degree, degree)
    assert max(map(sum, powers)) == degree


@pytest.mark.parametrize("dtype", [np.float64, np.int64, object])
def test_basis_functions_are_products_of_binomials(dtype: type) -> None:
    steps = np.array([[0, 0], [1, 5], [6, 2], [9, 9]])
    powers = monomial_exponents(2, 4)
    actual = basis_values(steps, powers, dtype)
    expected = [[comb(u, a) * comb(v, b) for u, v in steps.tolist()] for a, b in powers]
    assert actual.tolist() == expected
    assert basis_bound(steps, powers) >= max(map(max, expected))
