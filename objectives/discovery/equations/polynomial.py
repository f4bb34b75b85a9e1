"""Polynomials of sizes, with whole or negative powers and rational coefficients.

The exact arithmetic that discovery does on sizes: `3*d`, `a + b`, `d/h`. A size of today belongs to
every symbol, so that a quotient of two sums can be told apart from one that is a polynomial.

Entry point: `Polynomial`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import final

Monomial = tuple[tuple[int, int], ...]
"""Symbols by number with their powers, in the order of the numbers; () for a constant."""

_ONE: Monomial = ()


@final
class Polynomial:
    """A sum of monomials with coefficients; it can be compared, hashed and divided by a monomial.

    Attributes:
        terms: The coefficient of each monomial, none of them 0.
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: dict[Monomial, Fraction | int]) -> None:
        self.terms = terms
        self._hash: int | None = None

    @classmethod
    def constant(cls, value: Fraction | int) -> Polynomial:
        """Return the polynomial that is always this value."""
        return cls({_ONE: value} if value else {})

    @classmethod
    def symbol(cls, number: int) -> Polynomial:
        """Return the polynomial that is one symbol."""
        return cls({((number, 1),): 1})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __bool__(self) -> bool:
        return bool(self.terms)

    @property
    def symbols(self) -> frozenset[int]:
        """Numbers of the symbols in it."""
        return frozenset(number for monomial in self.terms for number, _ in monomial)

    @property
    def constant_value(self) -> Fraction | int | None:
        """Its value where it is a constant, None otherwise."""
        if not self.terms:
            return 0
        return self.terms.get(_ONE) if len(self.terms) == 1 else None

    @property
    def as_symbol(self) -> int | None:
        """The symbol that it is, None where it is anything else."""
        if len(self.terms) != 1:
            return None
        ((monomial, coefficient),) = self.terms.items()
        if coefficient != 1 or len(monomial) != 1 or monomial[0][1] != 1:
            return None
        return monomial[0][0]

    def __add__(self, other: Polynomial) -> Polynomial:
        terms = dict(self.terms)
        for monomial, coefficient in other.terms.items():
            total = terms.get(monomial, 0) + coefficient
            if total:
                terms[monomial] = total
            else:
                del terms[monomial]
        return Polynomial(terms)

    def __neg__(self) -> Polynomial:
        return self.scaled(-1)

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + other.scaled(-1)

    def scaled(self, factor: Fraction | int) -> Polynomial:
        """Return it times a number."""
        if factor == 1:
            return self
        if not factor:
            return Polynomial({})
        return Polynomial(
            {monomial: _whole(value * factor) for monomial, value in self.terms.items()}
        )

    def __mul__(self, other: Polynomial) -> Polynomial:
        constant = other.constant_value
        if constant is not None:
            return self.scaled(constant)
        constant = self.constant_value
        if constant is not None:
            return other.scaled(constant)
        terms: dict[Monomial, Fraction | int] = {}
        for first, left in self.terms.items():
            for second, right in other.terms.items():
                monomial = multiply(first, second)
                total = _whole(terms.get(monomial, 0) + left * right)
                if total:
                    terms[monomial] = total
                else:
                    del terms[monomial]
        return Polynomial(terms)

    def divided_by(self, other: Polynomial) -> Polynomial | None:
        """Return the quotient where it is such a polynomial itself; None where it is not.

        By a monomial it always is. By a sum it is where one monomial times that sum gives this
        polynomial: `6*a*b + 6*a*c` by `b + c`.
        """
        if not other.terms:
            return None
        if len(other.terms) == 1:
            ((monomial, coefficient),) = other.terms.items()
            inverse = inverted(monomial)
            return Polynomial(
                {
                    multiply(own, inverse): _whole(Fraction(value) / coefficient)
                    for own, value in self.terms.items()
                }
            )
        if len(self.terms) != len(other.terms):
            return None
        first, second = max(self.terms), max(other.terms)
        factor = Polynomial(
            {
                multiply(first, inverted(second)): _whole(
                    Fraction(self.terms[first]) / other.terms[second]
                )
            }
        )
        return factor if factor * other == self else None

    def value(self, sizes: Mapping[int, int]) -> Fraction:
        """Return its value for sizes of the symbols by their numbers."""
        total = Fraction(0)
        for monomial, coefficient in self.terms.items():
            product = Fraction(coefficient)
            for number, power in monomial:
                product *= Fraction(sizes[number]) ** power
            total += product
        return total

    def substituted(self, values: Mapping[int, Polynomial]) -> Polynomial | None:
        """Return it with polynomials in place of symbols; None where that is no such polynomial.

        A sum in place of a symbol with a negative power is none.
        """
        if not any(number in values for monomial in self.terms for number, _ in monomial):
            return self
        total = Polynomial({})
        for monomial, coefficient in self.terms.items():
            product = Polynomial.constant(coefficient)
            for number, power in monomial:
                factor = values.get(number)
                if factor is None:
                    product *= Polynomial({((number, power),): 1})
                    continue
                for _ in range(abs(power)):
                    quotient = product * factor if power > 0 else product.divided_by(factor)
                    if quotient is None:
                        return None
                    product = quotient
            total += product
        return total

    def without_denominators(self) -> Polynomial:
        """Return it times the least monomial and number that leave whole powers and coefficients.

        And divided by what all its terms have in common: what equals 0 stays equal to 0.
        """
        if not self.terms:
            return self
        numbers = self.symbols
        least = {
            number: min(dict(monomial).get(number, 0) for monomial in self.terms)
            for number in numbers
        }
        factor = tuple(sorted((number, -power) for number, power in least.items() if power))
        scale = Fraction(1)
        for value in self.terms.values():
            scale = scale * Fraction(value * scale).denominator
        return Polynomial(
            {
                multiply(monomial, factor): _whole(value * scale)
                for monomial, value in self.terms.items()
            }
        )

    def __iter__(self) -> Iterator[tuple[Monomial, Fraction]]:
        for monomial, coefficient in sorted(self.terms.items()):
            yield monomial, Fraction(coefficient)

    def __repr__(self) -> str:
        """Return it with symbols as s0, s1, …, for people who debug."""
        return " + ".join(
            "*".join([str(value), *(f"s{number}^{power}" for number, power in monomial)])
            for monomial, value in self
        )


def multiply(first: Monomial, second: Monomial) -> Monomial:
    """Return the product of two monomials."""
    if not first:
        return second
    if not second:
        return first
    powers = dict(first)
    for number, power in second:
        total = powers.get(number, 0) + power
        if total:
            powers[number] = total
        else:
            del powers[number]
    return tuple(sorted(powers.items()))


def inverted(monomial: Monomial) -> Monomial:
    """Return 1 divided by a monomial."""
    return tuple((number, -power) for number, power in monomial)


def _whole(value: Fraction | int) -> Fraction | int:
    """Return a whole number as an int, which is several times faster."""
    return value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value
