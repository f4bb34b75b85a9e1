"""Solves the equations between a model's sizes: each size as a polynomial of a few free ones.

Equations are solved one symbol at a time, the simple ones first. `a = b` makes one size of two,
`r = 3*d` a fused projection of r, `i = a + b` the reader of a concatenation of i; a symbol that is
left alone with a number is fixed by it. Whole numbers that layers carry follow the parameters. In a
product of two of them, as heads × head size, one has to stay:

- where the product is a size that norms, embeddings or square layers have too (d_model), the number
  of heads stays, and the size of a head follows;
- where it stands between projections only, the size of a head stays, and their number follows.

Entry points: `solve`, `Solution`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import final

from .polynomial import Polynomial
from .symbolic_forward import Symbols

OUTPUT = "output size"
GIVEN = "given"
"""Why a symbol is fixed: it meets a number that no symbol stands for."""

_CARRIED = frozenset({"attribute", "buffer"})
"""Kinds of symbols that follow the parameters, and are no widths of their own."""

_HEAD_SIZE = re.compile(
    r"(head|kv|query|key|value)s?_?(dim|size|width|features|channels)|dim_?(per_)?head|d_?head"
    r"|^(d_?[kqvh]|hd|dh|hs|head_?d|d_k|d_v)$",
    re.IGNORECASE,
)

_SHARED = re.compile(r"group|rep", re.IGNORECASE)
"""Attributes that say how many of something share a part: convolution groups, repeated keys."""


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
    for quotient in _shares(symbols):
        _tie_ratio(solution, quotient, base_below=True)
    for quotient in [*symbols.record.whole, *symbols.record.divisible]:
        _tie_ratio(solution, quotient, base_below=False)
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
    kinds = {number: _kind(solution, number) for number in numbers}
    alone = [n for n in numbers if _is_alone(equation, n)]
    candidates: list[tuple[tuple[int, int, int], int, Polynomial]] = []
    for number in alone:
        coefficient = equation.terms[((number, 1),)]
        rest = (equation - Polynomial({((number, 1),): coefficient})).scaled(
            Fraction(-1) / coefficient
        )
        if any(value < 0 for monomial, value in rest.terms.items() if monomial):
            continue
        attributes = [n for n in rest.symbols if kinds[n] in _CARRIED]
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
    if len(equation.terms) != 2 or len(kinds) != 2 or not _CARRIED.isdisjoint(kinds.values()):
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


def _kind(solution: Solution, number: int) -> str:
    origin = solution.symbols.origins.get(number)
    return "opaque" if origin is None else origin.kind


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
            if _kind(solution, number) == "opaque":
                solution.fix(number, GIVEN)
                return
    by_attributes = [(e, _attributes(solution, e)) for e in equations]
    for equation, attributes in sorted(by_attributes, key=lambda pair: len(pair[1])):
        if not attributes:
            continue
        if len(attributes) == len(equation.symbols):
            staying = attributes  # no parameter: the numbers stay as they are
        elif len(attributes) == 1:
            staying = [_count_of_heads(solution, equation, attributes[0]) or attributes[0]]
        else:
            staying = [_staying_attribute(solution, equation, attributes)]
        for number in staying:
            solution.fix(number, _carried_by(solution, number))
        names = [solution.symbols.origins[number].name for number in staying]
        if any(_SHARED.search(name) or _HEAD_SIZE.search(name) for name in names):
            _solve_share(solution, equation)
        return
    for number in sorted(equations[0].symbols):
        solution.fix(number, "sizes that must agree in a sum or product")


def _solve_share(solution: Solution, equation: Polynomial) -> None:
    """Solve c = 4*w by w = c/4, where the 4 is a number that a layer carries.

    So the size of a grouped convolution is that of its channels, not that of one group, and the
    size of queries is that of all heads, not the number of heads.
    """
    shared = solution.resolve(equation).without_denominators()
    numbers = sorted(shared.symbols, key=lambda number: solution.values[number])
    if len(numbers) != 2 or len(shared.terms) != 2:
        return
    if not all(_is_alone(shared, n) and _kind(solution, n) == "parameter" for n in numbers):
        return
    part, whole = numbers
    ratio = Fraction(-shared.terms[((whole, 1),)]) / shared.terms[((part, 1),)]
    solution.set(part, Polynomial.symbol(whole).scaled(ratio))
    solution.follows(part, equation.symbols)


def _attributes(solution: Solution, equation: Polynomial) -> list[int]:
    return [n for n in sorted(equation.symbols) if _kind(solution, n) in _CARRIED]


def _carried_by(solution: Solution, number: int) -> str:
    """Return what a symbol is that stays because the model carries it."""
    origin = solution.symbols.origins[number]
    return "number of heads" if origin.kind == "parameter" else f"{origin.kind} {origin.name}"


def _count_of_heads(solution: Solution, equation: Polynomial, attribute: int) -> int | None:
    """Return the parameter's dimension that is the number of heads, in d_model = heads * size.

    As of a bias for each head. None where the equation is another.
    """
    if not _HEAD_SIZE.search(solution.symbols.origins[attribute].name):
        return None
    beside = [
        number
        for monomial in equation.terms
        if any(n == attribute for n, _ in monomial)
        for number, _ in monomial
        if number != attribute
    ]
    products = [number for number in equation.symbols if number not in [*beside, attribute]]
    if len(beside) == 1 and any(_is_stream(solution, number) for number in products):
        return beside[0]
    return None


def _staying_attribute(solution: Solution, equation: Polynomial, attributes: list[int]) -> int:
    """Return which of several numbers of a product stays: of heads × head size, see above."""
    names = {number: solution.symbols.origins[number].name for number in attributes}
    sizes = [number for number in attributes if _HEAD_SIZE.search(names[number])]
    counts = [number for number in attributes if number not in sizes]
    if not sizes:
        sizes = [max(attributes, key=lambda number: solution.values[number])]
        counts = [number for number in attributes if number not in sizes]
    free = [n for n in equation.symbols if n not in attributes]
    if counts and any(_is_stream(solution, number) for number in free):
        return counts[0]
    return sizes[0]


def _is_stream(solution: Solution, number: int) -> bool:
    """Return whether a free symbol is a size of norms or of square layers too, as d_model is."""
    layers: dict[str, list[list[frozenset[int]]]] = defaultdict(list)
    for name, dims in solution.symbols.parameters.items():
        resolved = [frozenset() if n is None else solution.of(n).symbols for n in dims]
        layers[name.rpartition(".")[0]].append(resolved)
    own = frozenset({number})
    return any(
        any(dims.count(own) >= 2 for dims in tensors) or all(dims == [own] for dims in tensors)
        for tensors in layers.values()
    )


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
