"""Exact fits: whatever integer polynomial there is on a lattice, it is found, and nothing else."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.objectives.cost.polynomials.lattice import StepLattice, monomial_exponents
from widthwise.objectives.cost.polynomials.polynomial import (
    Polynomials,
    fit_polynomials,
    independent_points,
    stack_polynomials,
)


def fitted(points: np.ndarray, values: list[list[int]], degree: int) -> Polynomials | None:
    """Fit as a caller does: choose the points that are worth it, use their values only."""
    lattice = StepLattice.spanning(points)
    rows, columns = independent_points(lattice, points, degree)
    chosen = np.array(values, dtype=object)[rows]
    return fit_polynomials(lattice, points[rows], chosen, degree, columns)


def box(*ranges: range) -> np.ndarray:
    return np.array(np.meshgrid(*ranges, indexing="ij")).reshape(len(ranges), -1).T


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, list[int], int]:
    """Return lattice points, the values of a random integer polynomial there, and its degree."""
    dimensions = draw(st.integers(1, 3))
    degree = draw(st.integers(1, 4))
    ranges = []
    for _ in range(dimensions):
        low, step = draw(st.integers(1, 500)), draw(st.integers(1, 64))
        ranges.append(range(low, low + step * (degree + 2), step))
    points = box(*ranges)
    coefficients = draw(
        st.lists(
            st.integers(-(10**6), 10**6),
            min_size=comb(dimensions + degree, degree),
            max_size=comb(dimensions + degree, degree),
        )
    )
    values = [
        sum(
            c * int(np.prod([int(w) ** a for w, a in zip(point, power, strict=True)], dtype=object))
            for c, power in zip(coefficients, monomial_exponents(dimensions, degree), strict=True)
        )
        for point in points
    ]
    return points, values, degree


@settings(max_examples=60, deadline=None)
@given(cases())
def test_any_integer_polynomial_is_found_exactly(
    case: tuple[np.ndarray, list[int], int],
) -> None:
    points, values, degree = case
    actual = fitted(points, [[value] for value in values], degree)
    assert actual is not None
    assert actual(points)[0].tolist() == values


def test_worked_example_of_the_module() -> None:
    points = np.arange(16, 81, 16)[:, None]
    actual = fitted(points, [[int(w) ** 2 + int(w)] for (w,) in points], 2)
    assert actual is not None
    assert actual.powers == ((0,), (1,), (2,))
    assert actual.coefficients.tolist() == [[272, 784, 512]]


def test_values_beyond_floats_and_beyond_64_bits_stay_exact() -> None:
    points = box(range(1, 10**6, 10**5), range(1, 10**6, 10**5))
    small = [[int(a) * int(b) * 10**4 + 1] for a, b in points]  # above 2**53
    large = [[int(a) * int(b) * 10**8 + 1] for a, b in points]  # above 2**63
    assert fitted(points, small, 2)(points)[0].tolist() == [v for (v,) in small]
    predicted = fitted(points, large, 2)(points)
    assert predicted.dtype == object
    assert predicted[0].tolist() == [v for (v,) in large]


@pytest.mark.parametrize("ratio", [1, 2, 3], ids=lambda ratio: f"first = {ratio} × second")
def test_tied_widths_are_fitted_although_their_columns_depend_on_one_another(ratio: int) -> None:
    points = np.array([(ratio * w, w, v) for w in range(1, 9) for v in range(2, 8)])
    values = [[3 * int(a) * int(b) + int(b) * int(c) + 7] for a, b, c in points]
    rows, columns = independent_points(StepLattice.spanning(points), points, 2)
    assert len(rows) == len(columns) == 6
    assert fitted(points, values, 2)(points)[0].tolist() == [v for (v,) in values]


def test_a_thinned_lattice_may_need_fractions() -> None:
    """On (w, w²) the term w³ has no whole coefficients in the steps of both: w³ ≠ Σ integers."""
    points = np.array([(w, w * w) for w in range(1, 12)])
    values = [[int(w) ** 3 + 1] for w, _ in points]
    assert fitted(points, values, 2)(points)[0].tolist() == [v for (v,) in values]


@pytest.mark.parametrize(
    "rule",
    [lambda w: w // 3, lambda w: 2**w, lambda w: w**5],
    ids=["floor", "exponential", "degree 5"],
)
def test_what_is_no_polynomial_is_not_predicted(rule) -> None:
    points = np.arange(1, 40)[:, None]
    values = [[rule(int(w))] for (w,) in points]
    actual = fitted(points, values, 4)
    assert actual is None or actual(points)[0].tolist() != [v for (v,) in values]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-50, 50), min_size=6, max_size=6), min_size=1, max_size=12))
def test_the_upper_envelope_has_the_same_maximum(coefficients: list[list[int]]) -> None:
    points = box(range(3, 20, 4), range(5, 40, 5))
    polynomials = Polynomials(
        lattice=StepLattice.spanning(points),
        powers=monomial_exponents(2, 2),
        coefficients=np.array(coefficients, dtype=object),
    )
    envelope = polynomials.upper_envelope()
    assert len(envelope.coefficients) <= len(coefficients)
    assert (envelope(points).max(axis=0) == polynomials(points).max(axis=0)).all()


def test_stacked_polynomials_keep_their_values() -> None:
    points = box(range(2, 20, 3), range(1, 9))
    lattice = StepLattice.spanning(points)
    first = Polynomials(
        lattice=lattice, powers=((0, 0), (1, 1)), coefficients=np.array([[4, 6]], dtype=object)
    )
    second = Polynomials(
        lattice=lattice,
        powers=((0, 0), (2, 0)),
        coefficients=np.array([[6, 3], [9, 0]], dtype=object),
        denominator=3,
    )
    both = stack_polynomials([first, second])(points)
    assert (both[:1] == first(points)).all()
    assert (both[1:] == second(points)).all()
