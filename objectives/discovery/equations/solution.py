"""What every size of a model is, as far as the equations between them say.

Entry point: `Solution`.
"""

from __future__ import annotations

from typing import final

from .polynomial import Polynomial
from .symbolic_forward import Symbols

OUTPUT = "output size"
GIVEN = "given"
"""Why a symbol is fixed: it meets a number that no symbol stands for."""

CARRIED = frozenset({"attribute", "buffer"})
"""Kinds of symbols that follow the parameters, and are no widths of their own."""


@final
class Solution:
    """What every symbol is, as far as the equations say.

    Attributes:
        values: Today's value of each symbol.
        reasons: Why a symbol is fixed, for those that are.
    """

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self.values = symbols.record.values
        self.reasons: dict[int, str] = {}
        self._solved: dict[int, Polynomial] = {}
        self._equations: dict[int, frozenset[int]] = {}

    def of(self, number: int) -> Polynomial:
        """Return what a symbol is: a polynomial of free symbols."""
        return self.resolve(Polynomial.symbol(number))

    def resolve(self, polynomial: Polynomial) -> Polynomial:
        """Return a polynomial in free symbols only."""
        while True:
            known = {n: self._solved[n] for n in polynomial.symbols if n in self._solved}
            if not known:
                return polynomial
            for number, value in known.items():
                if any(n in self._solved for n in value.symbols):
                    known[number] = self._solved[number] = self.resolve(value)
            substituted = polynomial.substituted(known)
            if substituted is None:
                # A sum in a denominator: today's value stands for the quotient.
                return Polynomial.constant(polynomial.value(dict(enumerate(self.values))))
            polynomial = substituted

    def fix(self, number: int, reason: str) -> None:
        """Let a free symbol keep today's value."""
        if number not in self._solved:
            self._solved[number] = Polynomial.constant(self.values[number])
            self.reasons[number] = reason

    def set(self, number: int, value: Polynomial) -> None:
        """Let a free symbol be a polynomial of others."""
        self._solved[number] = value

    def new_symbol(self, value: int) -> int:
        """Return a further symbol, that no dimension is."""
        self.values.append(value)
        return len(self.values) - 1

    def reason(self, number: int) -> tuple[str, int]:
        """Return why a symbol is fixed, and today's value of the symbol of which that is said.

        That is the symbol itself, or one that it follows.
        """
        seen: set[int] = set()
        stack = [number]
        last = number
        while stack:
            last = stack.pop()
            if last in self.reasons:
                return self.reasons[last], self.values[last]
            seen.add(last)
            stack.extend(sorted(self._equations.get(last, frozenset()) - seen))
        return GIVEN, self.values[last]

    def follows(self, number: int, equation: frozenset[int]) -> None:
        """Note which symbols an equation had that solved a symbol."""
        self._equations[number] = equation - {number}

    def kind(self, number: int) -> str:
        """Return what a symbol stands for; "opaque" for a result of torch's own."""
        origin = self.symbols.origins.get(number)
        return "opaque" if origin is None else origin.kind
