"""Polynomials: exact arithmetic, judged by the values at random sizes."""

import random
from fractions import Fraction

import pytest
from widthwise.objectives.discovery.equations.polynomial import Polynomial

A, B, C = (Polynomial.symbol(number) for number in range(3))
TWO = Polynomial.constant(2)


def values() -> dict[int, int]:
    """Return random sizes of the three symbols."""
    stream = random.Random(7)
    return {number: stream.randint(1, 50) for number in range(3)}


def test_sums_and_products_have_the_value_of_their_parts() -> None:
    sizes = values()
    a, b, c = sizes[0], sizes[1], sizes[2]
    assert ((A + B) * (A - C) + TWO).value(sizes) == (a + b) * (a - c) + 2
    assert (-(A * A * B)).value(sizes) == -a * a * b
    assert (A.scaled(Fraction(3, 4))).value(sizes) == Fraction(3 * a, 4)


def test_equal_polynomials_are_equal_however_they_came_about() -> None:
    assert (A + B) * C == C * B + A * C
    assert hash((A + B) * C) == hash(C * B + A * C)
    assert not (A + B) - B - A
    assert (A + B) - B != B


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"),
    [
        pytest.param(A * B * TWO, B, A * TWO, id="monomial"),
        pytest.param(A * B + A * C, B + C, A, id="common-sum"),
        pytest.param(A + B, TWO, A.scaled(Fraction(1, 2)) + B.scaled(Fraction(1, 2)), id="number"),
        pytest.param(A, B + C, None, id="no-polynomial"),
        pytest.param(A * A - B * B, A + B, None, id="more-than-one-monomial"),
        pytest.param(A, Polynomial({}), None, id="zero"),
    ],
)
def test_division(dividend: Polynomial, divisor: Polynomial, quotient: Polynomial | None) -> None:
    assert dividend.divided_by(divisor) == quotient


def test_a_power_below_zero_is_undone_by_its_product() -> None:
    inverse = A.divided_by(B)
    assert inverse is not None
    assert inverse * B == A
    assert inverse.value({0: 12, 1: 8}) == Fraction(3, 2)


def test_substitution() -> None:
    assert (A * A + B).substituted({0: B + C}) == (B + C) * (B + C) + B
    inverse = A.divided_by(B)
    assert inverse is not None
    assert inverse.substituted({1: TWO * C}) == A.divided_by(TWO * C)
    assert inverse.substituted({1: B + C}) is None


def test_what_equals_nothing_is_freed_of_denominators() -> None:
    third = A.scaled(Fraction(1, 3)).divided_by(C)
    other = B.divided_by(C)
    assert third is not None
    assert other is not None
    assert (third - other).without_denominators() == A - B.scaled(3)
