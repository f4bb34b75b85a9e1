"""Which numbers of attention stay: that of its heads, or the size of a head.

In a product of the two,

- where the product is a size that norms or square layers have too (d_model), the number of heads
  stays, and the size of a head follows;
- where it stands between projections only, the size of a head stays, and their number follows.

Entry points: `streams`, `head_sizes`, `staying_numbers`, `is_share`.
"""

from __future__ import annotations

import re
from collections import defaultdict

from .polynomial import Polynomial
from .solution import CARRIED, Solution

_HEAD_SIZE = re.compile(
    r"(head|kv|query|key|value)s?_?(dim|size|width|features|channels)|dim_?(per_)?head|d_?head"
    r"|^(d_?[kqvh]|hd|dh|hs|head_?d|d_k|d_v)$",
    re.IGNORECASE,
)

_SHARED = re.compile(r"group|rep", re.IGNORECASE)
"""Attributes that say how many of something share a part: convolution groups, repeated keys."""


def staying_numbers(
    solution: Solution, equation: Polynomial, of_streams: frozenset[int]
) -> list[int]:
    """Return which symbols of an equation are to stay, so that it can be solved; [] for none.

    Args:
        solution: What each symbol is so far.
        equation: In free symbols, with numbers that layers carry in a product.
        of_streams: See `streams`.
    """
    carried = [n for n in sorted(equation.symbols) if solution.kind(n) in CARRIED]
    if len(carried) == len(equation.symbols) or not carried:
        return carried  # no parameter: the numbers stay as they are
    if len(carried) == 1:
        count = _count_of_heads(solution, equation, carried[0], of_streams)
        return carried if count is None else [count]
    names = {number: solution.symbols.origins[number].name for number in carried}
    sizes = [number for number in carried if _HEAD_SIZE.search(names[number])]
    if not sizes:
        sizes = [max(carried, key=lambda number: solution.values[number])]
    counts = [number for number in carried if number not in sizes]
    if counts and not of_streams.isdisjoint(equation.symbols):
        return counts[:1]
    return sizes[:1]


def is_share(solution: Solution, number: int) -> bool:
    """Return whether a number says how many of something share a part, or the size of a head."""
    name = solution.symbols.origins[number].name
    return bool(_SHARED.search(name) or _HEAD_SIZE.search(name))


def _count_of_heads(
    solution: Solution, equation: Polynomial, carried: int, of_streams: frozenset[int]
) -> int | None:
    """Return the parameter's dimension that is the number of heads, in d_model = heads * size.

    As of a bias for each head. None where the equation is another.
    """
    if not _HEAD_SIZE.search(solution.symbols.origins[carried].name):
        return None
    beside = [
        number
        for monomial in equation.terms
        if any(n == carried for n, _ in monomial)
        for number, _ in monomial
        if number != carried
    ]
    products = equation.symbols - {*beside, carried}
    return beside[0] if len(beside) == 1 and products & of_streams else None


def head_sizes(solution: Solution) -> frozenset[int]:
    """Return the free symbols that are the size of a head by the name of what carries them."""
    symbols = solution.symbols
    found = {
        solution.of(number).as_symbol
        for (_, name), number in [*symbols.attributes.items(), *symbols.configured.items()]
        if isinstance(number, int) and _HEAD_SIZE.search(name.rpartition(".")[2])
    }
    return frozenset(number for number in found if number is not None)


def streams(solution: Solution) -> frozenset[int]:
    """Return the free symbols that are sizes of norms or of square layers, as d_model is."""
    layers: dict[str, list[list[frozenset[int]]]] = defaultdict(list)
    for name, dims in solution.symbols.parameters.items():
        resolved = [frozenset() if n is None else solution.of(n).symbols for n in dims]
        layers[name.rpartition(".")[0]].append(resolved)
    found: set[int] = set()
    for tensors in layers.values():
        single = {sizes[0] for sizes in tensors if len(sizes) == 1}
        if len(single) == 1 and all(len(sizes) == 1 for sizes in tensors):
            found |= single.pop()
        for sizes in tensors:
            found |= {n for size in sizes if sizes.count(size) >= 2 for n in size if len(size) == 1}
    return frozenset(found)
