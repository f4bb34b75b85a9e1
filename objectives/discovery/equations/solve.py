"""Solves the equations between a model's sizes: each size as a polynomial of a few free ones.

Equations are solved one symbol at a time, the simple ones first. `a = b` makes one size of two,
`r = 3*d` a fused projection of r, `i = a + b` the reader of a concatenation of i; a symbol that is
left alone with a number is fixed by it. Whole numbers that layers carry follow the parameters;
where several are multiplied, one has to stay (`heads`).

Entry point: `solve`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from .divisors import tie_ratios
from .heads import is_share, staying_numbers, streams
from .polynomial import Polynomial
from .solution import CARRIED, GIVEN, OUTPUT, Solution
from .symbolic_forward import Symbols


def solve(symbols: Symbols, further: Sequence[Polynomial] = ()) -> Solution:
    """Return what every symbol is; sizes in the model's output stay.

    Args:
        symbols: With the equations that the forward pass met.
        further: Equations that hold beside those, solved after them.
    """
    solution = Solution(symbols)
    pending = list(symbols.record.equations)
    pending.sort(key=lambda equation: len(equation.terms))
    for size in symbols.outputs:
        if size.as_symbol is not None:
            solution.fix(size.as_symbol, OUTPUT)
    pending = _eliminate(solution, pending)
    while pending:
        _decide(solution, pending)
        pending = _eliminate(solution, pending)
    for size in symbols.outputs:
        for number in solution.resolve(size).symbols:
            solution.fix(number, OUTPUT)
    _eliminate(solution, list(further))
    for number, origin in symbols.origins.items():
        if origin.kind != "parameter" and solution.of(number).as_symbol == number:
            solution.fix(number, _carried_by(solution, number))
    tie_ratios(solution)
    return solution


def _eliminate(solution: Solution, pending: list[Polynomial]) -> list[Polynomial]:
    """Solve equations as long as one can be solved; return those that are left."""
    progress = True
    while progress:
        progress = False
        left: list[Polynomial] = []
        for equation in pending:
            current = solution.resolve(equation).without_denominators()
            if not current.symbols:
                continue
            if _solve_one(solution, equation, current):
                progress = True
            else:
                left.append(equation)
        pending = left
    return pending


def _solve_one(solution: Solution, original: Polynomial, equation: Polynomial) -> bool:
    """Solve an equation for one of its symbols; return whether it could be."""
    numbers = equation.symbols
    if len(numbers) == 1:
        (number,) = numbers
        solution.set(number, Polynomial.constant(solution.values[number]))
        solution.follows(number, original.symbols)
        return True
    kinds = {number: solution.kind(number) for number in numbers}
    alone = [n for n in numbers if _is_alone(equation, n)]
    candidates: list[tuple[tuple[int, int, int], int, Polynomial]] = []
    for number in alone:
        coefficient = equation.terms[((number, 1),)]
        rest = (equation - Polynomial({((number, 1),): coefficient})).scaled(
            Fraction(-1) / coefficient
        )
        if any(value < 0 for monomial, value in rest.terms.items() if monomial):
            continue
        attributes = [n for n in rest.symbols if kinds[n] in CARRIED]
        is_whole = all(Fraction(value).denominator == 1 for value in rest.terms.values())
        if kinds[number] == "opaque":
            rank = 0
        elif kinds[number] != "parameter":
            if attributes and (len(rest.terms) > 1 or not _is_linear(rest)):
                continue
            rank = 1 if is_whole or not attributes else 4
        elif attributes or not is_whole:
            continue
        else:
            rank = 2
        candidates.append(((rank, -solution.values[number], -number), number, rest))
    if candidates:
        _, number, rest = min(candidates)
        solution.set(number, rest)
        solution.follows(number, original.symbols)
        return True
    return _solve_ratio(solution, original, equation, kinds)


def _solve_ratio(
    solution: Solution, original: Polynomial, equation: Polynomial, kinds: dict[int, str]
) -> bool:
    """Solve 2*a = 3*b by a = 3*c, b = 2*c."""
    if len(equation.terms) != 2 or len(kinds) != 2 or not CARRIED.isdisjoint(kinds.values()):
        return False
    if not all(_is_alone(equation, number) for number in kinds):
        return False
    first, second = sorted(kinds)
    weights = [abs(int(equation.terms[((n, 1),)])) for n in (first, second)]
    common = solution.new_symbol(solution.values[first] // weights[1])
    solution.set(first, Polynomial.symbol(common).scaled(weights[1]))
    solution.set(second, Polynomial.symbol(common).scaled(weights[0]))
    for number in (first, second):
        solution.follows(number, original.symbols)
    return True


def _is_alone(equation: Polynomial, number: int) -> bool:
    """Return whether a symbol stands in one term only, to the power 1 and with no other."""
    return (
        sum(any(n == number for n, _ in monomial) for monomial in equation.terms) == 1
        and ((number, 1),) in equation.terms
    )


def _is_linear(polynomial: Polynomial) -> bool:
    return all(sum(power for _, power in m) <= 1 for m in polynomial.terms)


def _decide(solution: Solution, pending: list[Polynomial]) -> None:
    """Let a symbol stay as it is, so that an equation that no symbol is alone in can be solved."""
    equations = [solution.resolve(e).without_denominators() for e in pending]
    for equation in equations:
        for number in sorted(equation.symbols):
            if solution.kind(number) == "opaque":
                solution.fix(number, GIVEN)
                return
    of_streams = streams(solution)
    carried = {e: sum(solution.kind(n) in CARRIED for n in e.symbols) for e in equations}
    with_carried = [e for e in equations if carried[e]]
    if not with_carried:
        for number in sorted(equations[0].symbols):
            solution.fix(number, "sizes that must agree in a sum or product")
        return
    equation = min(with_carried, key=lambda e: (carried[e], of_streams.isdisjoint(e.symbols)))
    staying = staying_numbers(solution, equation, of_streams)
    for number in staying:
        solution.fix(number, _carried_by(solution, number))
    if any(is_share(solution, number) for number in staying):
        _solve_share(solution, equation)


def _carried_by(solution: Solution, number: int) -> str:
    """Return what a symbol is that stays because the model carries it."""
    origin = solution.symbols.origins[number]
    return "number of heads" if origin.kind == "parameter" else f"{origin.kind} {origin.name}"


def _solve_share(solution: Solution, equation: Polynomial) -> None:
    """Solve c = 4*w by w = c/4, where the 4 is a number that a layer carries.

    So the size of a grouped convolution is that of its channels, not that of one group, and the
    size of queries is that of all heads, not the number of heads.
    """
    shared = solution.resolve(equation).without_denominators()
    numbers = sorted(shared.symbols, key=lambda number: solution.values[number])
    if len(numbers) != 2 or len(shared.terms) != 2:
        return
    if not all(_is_alone(shared, n) and solution.kind(n) == "parameter" for n in numbers):
        return
    part, whole = numbers
    ratio = Fraction(-shared.terms[((whole, 1),)]) / shared.terms[((part, 1),)]
    solution.set(part, Polynomial.symbol(whole).scaled(ratio))
    solution.follows(part, equation.symbols)
