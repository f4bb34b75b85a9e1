"""What is said of the sizes of a model: symbols, equations between them, and quotients.

Entry point: `Record`.
"""

from __future__ import annotations

from typing import final

from .polynomial import Polynomial


@final
class Record:
    """Symbols, and what was said of them.

    Attributes:
        values: Today's value of each symbol, by its number.
        equations: Polynomials that must equal 0, in the order in which they were met.
        whole: Quotients that were computed; they must be whole numbers at every size.
        divisible: Quotients of which it was asked whether they are whole, and which are today.
    """

    def __init__(self) -> None:
        self.values: list[int] = []
        self.equations: dict[Polynomial, None] = {}
        self.whole: dict[Polynomial, None] = {}
        self.divisible: dict[Polynomial, None] = {}
        self._quotients: dict[tuple[Polynomial, Polynomial], int] = {}

    def symbol(self, value: int) -> int:
        """Return the number of a new symbol with today's value."""
        self.values.append(value)
        return len(self.values) - 1

    def equate(self, first: Polynomial, second: Polynomial) -> None:
        """Note that two sizes are equal."""
        if first is second:
            return
        difference = first - second
        if difference.symbols:
            self.equations.setdefault(difference)

    def quotient(self, dividend: Polynomial, divisor: Polynomial, value: int) -> Polynomial:
        """Return a symbol for a quotient that is no polynomial, the same for the same operands."""
        key = (dividend, divisor)
        if key not in self._quotients:
            self._quotients[key] = self.symbol(value)
            self.equate(Polynomial.symbol(self._quotients[key]) * divisor, dividend)
        return Polynomial.symbol(self._quotients[key])
