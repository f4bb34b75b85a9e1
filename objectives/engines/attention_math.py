"""Sums, largest numbers, exponentials and logarithms of tiles.

Entry points: `largest`, `sums`, `exponential`, `logarithm`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from llvmlite import ir  # type: ignore[import-untyped]

from .attention_tiles import (
    SIDE,
    Code,
    Tile,
    each,
    instruction,
    multiplied_add,
    shuffled,
    the_larger,
)


def _reducing(combine: Callable[[Any, Any, Any], Any]) -> Code:
    """Return code that puts what becomes of each row of a tile side by side.

    Two rows become one, in which stand the first one's halves, combined, and then the second's.
    """

    def code(_: Any, builder: Any, __: Any, values: Any) -> Any:
        rows = [builder.extract_value(values[0], row) for row in range(SIDE)]
        while len(rows) > 1:
            half = len(rows) // 2
            near = [place for place in range(2 * SIDE) if place % (2 * half) < half]
            far = [place + half for place in near]
            rows = [
                combine(
                    builder,
                    shuffled(builder, one, other, near),
                    shuffled(builder, one, other, far),
                )
                for one, other in zip(rows[::2], rows[1::2], strict=True)
            ]
        empty = ir.Constant(ir.ArrayType(rows[0].type, 1), ir.Undefined)
        return builder.insert_value(empty, rows[0], 0)

    return code


@instruction
def largest(_: Any, tile: Any) -> Any:
    """Return the largest number of each row of a tile without NaN, as one row."""
    return Tile(tile.number, 1)(tile), _reducing(the_larger)


@instruction
def sums(_: Any, tile: Any) -> Any:
    """Return the sum of each row of a tile, taken pairwise, as one row."""
    return Tile(tile.number, 1)(tile), _reducing(lambda builder, *rows: builder.fadd(*rows))


@final
@dataclass(frozen=True, kw_only=True)
class _Format:
    """What is known of a type of number.

    Attributes:
        bits: Of a number.
        fraction: Those behind the leading one.
        powers: Of the series of an exponential, whose next term is less than half a unit in the
            last place.
        odd_powers: Of that of a logarithm, likewise.
        ln2_high: ln 2 in so few bits that its products with exponents are exact.
        ln2_low: The rest of it.
    """

    bits: int
    fraction: int
    powers: int
    odd_powers: int
    ln2_high: float
    ln2_low: float

    @property
    def bias(self) -> int:
        """What is added to an exponent."""
        return int(2 ** (self.bits - self.fraction - 2)) - 1


_FORMATS = {
    32: _Format(
        bits=32,
        fraction=23,
        powers=8,
        odd_powers=5,
        ln2_high=0.693115234375,
        ln2_low=3.1946184945309415e-05,
    ),
    64: _Format(
        bits=64,
        fraction=52,
        powers=14,
        odd_powers=11,
        ln2_high=0.6931471803691238,
        ln2_low=1.9082149292705877e-10,
    ),
}
"""By the bits of a number."""


@final
class _Numbers:
    """Writes the instructions that rows of a type of number have in common."""

    def __init__(self, builder: Any, kind: Any, facts: _Format) -> None:
        self._builder, self._kind = builder, kind
        self.words = ir.VectorType(ir.IntType(facts.bits), SIDE)

    def of(self, number: float) -> Any:
        """Return a row of one number."""
        return ir.Constant(self._kind, [number] * SIDE)

    def word(self, number: int) -> Any:
        """Return a row of one whole number."""
        return ir.Constant(self.words, [number] * SIDE)

    def series(self, x: Any, terms: list[float]) -> Any:
        """Return the sum of terms times powers of x, from 0 on, by Horner's rule."""
        total = self.of(terms[-1])
        for term in terms[-2::-1]:
            total = multiplied_add(self._builder, total, x, self.of(term))
        return total


@instruction
def exponential(_: Any, tile: Any) -> Any:
    """Return exp(x) for x at most a little above 0; NaN of NaN, 0 below the normal numbers.

    It is 2^k · exp(r), |r| <= ln(2) / 2, by r's Taylor series: wrong by 2 units in the last place.
    """
    facts = _FORMATS[tile.number.bitwidth]

    def code(__: Any, builder: Any, ___: Any, values: Any) -> Any:
        return each(builder, lambda _, x: _exponential(builder, x, facts), values[0])

    return tile(tile), code


def _exponential(builder: Any, x: Any, facts: _Format) -> Any:
    numbers = _Numbers(builder, x.type, facts)
    magic = numbers.of(1.5 * 2.0**facts.fraction)  # rounds to a whole number, in the lowest bits
    marked = multiplied_add(builder, x, numbers.of(1 / math.log(2)), magic)
    whole = builder.fsub(marked, magic)
    rest = multiplied_add(builder, whole, numbers.of(-facts.ln2_high), x)
    rest = multiplied_add(builder, whole, numbers.of(-facts.ln2_low), rest)
    total = numbers.series(rest, [1 / math.factorial(power) for power in range(facts.powers)])
    biased = builder.add(builder.bitcast(marked, numbers.words), numbers.word(facts.bias))
    power = builder.bitcast(builder.shl(biased, numbers.word(facts.fraction)), x.type)
    least = numbers.of((1 - facts.bias) * math.log(2))
    is_small = builder.fcmp_ordered("<", x, least)
    return builder.select(is_small, numbers.of(0.0), builder.fmul(total, power))


@instruction
def logarithm(_: Any, tile: Any) -> Any:
    """Return ln(x) for normal x above 0; NaN of NaN.

    It is k · ln 2 + 2 · artanh((m - 1) / (m + 1)) with x = 2^k · m, 1/2 <= m² <= 2, by the series
    of the second term: wrong by 2 units in the last place of the larger of the two.
    """
    facts = _FORMATS[tile.number.bitwidth]

    def code(__: Any, builder: Any, ___: Any, values: Any) -> Any:
        return each(builder, lambda _, x: _logarithm(builder, x, facts), values[0])

    return tile(tile), code


def _logarithm(builder: Any, x: Any, facts: _Format) -> Any:
    numbers, one = _Numbers(builder, x.type, facts), ir.Constant(x.type, [1.0] * SIDE)
    word = builder.bitcast(x, numbers.words)
    least = builder.bitcast(numbers.of(math.sqrt(0.5)), numbers.words)
    fraction = numbers.word(facts.fraction)
    whole = builder.ashr(builder.sub(word, least), fraction)
    part = builder.bitcast(builder.sub(word, builder.shl(whole, fraction)), x.type)
    ratio = builder.fdiv(builder.fsub(part, one), builder.fadd(part, one))
    terms = [2 / (2 * place + 1) for place in range(facts.odd_powers)]
    rest = builder.fmul(ratio, numbers.series(builder.fmul(ratio, ratio), terms))
    exponent = builder.sitofp(whole, x.type)
    rest = multiplied_add(builder, exponent, numbers.of(facts.ln2_low), rest)
    found = multiplied_add(builder, exponent, numbers.of(facts.ln2_high), rest)
    return builder.select(builder.fcmp_unordered("uno", x, x), x, found)
