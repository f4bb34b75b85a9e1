"""Whole numbers: what a size must be a multiple of, and which ratios of sizes stay.

Entry points: `tie_ratios`, `multiples`.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from math import lcm

from .heads import head_sizes, streams
from .polynomial import Polynomial
from .solution import GIVEN, Solution
from .symbolic_forward import Symbols


def tie_ratios(solution: Solution) -> None:
    """Let the ratio of two free sizes stay where one must be a multiple of the other."""
    record = solution.symbols.record
    _keep_head_sizes(solution)
    for quotient in _shares(solution.symbols):
        _tie_ratio(solution, quotient, base_below=True)
    for quotient in [*record.whole, *record.divisible]:
        _tie_ratio(solution, quotient, base_below=False)


def _keep_head_sizes(solution: Solution) -> None:
    """Let the size of a head stay where it divides the size of all heads between projections.

    As where each head is normed: its size is a parameter's, and q is a multiple of it.
    """
    sizes = head_sizes(solution)
    if not sizes:
        return
    record = solution.symbols.record
    of_streams = streams(solution)
    for quotient in map(solution.resolve, [*record.whole, *record.divisible]):
        for monomial, _ in quotient:
            above = frozenset(number for number, power in monomial if power > 0)
            below = frozenset(number for number, power in monomial if power < 0)
            if above and not above & of_streams:
                for number in below & sizes:
                    solution.fix(number, "size of a head")


def _shares(symbols: Symbols) -> list[Polynomial]:
    """Return the channels that each group of a convolution has: a whole number, as they are today.

    Of a depthwise convolution it is 1 today, so its channels are those that it reads.
    """
    shares = []
    for (path, name), number in symbols.attributes.items():
        if name != "groups" or not isinstance(number, int):
            continue
        for weight in ("weight", "weight_v", "parametrizations.weight.original1"):
            dims = symbols.parameters.get(f"{path}.{weight}" if path else weight)
            if dims is not None and dims[0] is not None:
                groups = Polynomial.symbol(number)
                quotient = Polynomial.symbol(dims[0]).divided_by(groups)
                assert quotient is not None
                shares.append(quotient)
    return shares


def _tie_ratio(solution: Solution, quotient: Polynomial, *, base_below: bool) -> None:
    """Let the ratio of two sizes stay where one must be a multiple of the other.

    Args:
        solution: What each symbol is so far.
        quotient: Must be a whole number.
        base_below: Whether the free one of the two is the divisor: a convolution's groups, but
            queries rather than the keys that several of them share.
    """
    resolved = solution.resolve(quotient)
    for monomial, _ in resolved:
        below = [number for number, power in monomial if power < 0]
        if not below:
            continue
        above = [number for number, power in monomial if power > 0]
        if not above:
            for number in below:
                solution.fix(number, GIVEN)
            continue
        if len(above) == len(below) == 1 and all(abs(power) == 1 for _, power in monomial):
            ratio = Fraction(solution.values[above[0]], solution.values[below[0]])
            if ratio.denominator == 1:
                if base_below:
                    solution.set(above[0], Polynomial.symbol(below[0]).scaled(ratio))
                else:
                    solution.set(below[0], Polynomial.symbol(above[0]).scaled(1 / ratio))
                continue
        for number in [*above, *below]:
            solution.fix(number, "a ratio of sizes that must stay whole")


def multiples(solution: Solution) -> dict[int, int]:
    """Return what each free symbol must be a multiple of, so that all sizes are whole numbers.

    Symbols for which there is no such number are fixed in the solution.
    """
    symbols = solution.symbols
    while True:
        fixed = len(solution.reasons)
        least: dict[int, int] = defaultdict(lambda: 1)
        conditions = [solution.of(number) for number in symbols.origins]
        conditions += map(solution.resolve, symbols.record.whole)
        conditions += [
            polynomial
            for polynomial in map(solution.resolve, symbols.record.divisible)
            if all(power > 0 for monomial, _ in polynomial for _, power in monomial)
        ]
        for polynomial in dict.fromkeys(conditions):
            for monomial, coefficient in polynomial:
                _require_whole(solution, dict(monomial), coefficient.denominator, least)
        if len(solution.reasons) == fixed:
            return least


def _require_whole(
    solution: Solution, powers: dict[int, int], denominator: int, least: dict[int, int]
) -> None:
    """Note the divisor that one term asks for; fix its symbols where no divisor would do."""
    for number, power in powers.items():
        if power < 0:
            solution.fix(number, "a size that divides another")
    if denominator == 1 or not powers:
        return
    fitting = [number for number in powers if solution.values[number] % denominator == 0]
    if fitting:
        least[fitting[0]] = lcm(least[fitting[0]], denominator)
        return
    for number in powers:
        solution.fix(number, "a quotient of sizes that must stay whole")
