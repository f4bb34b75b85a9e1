# ruff: noqa: A003, D102 - torch names these methods, and says what they do
"""Sizes of tensors that remember how they came about.

A tensor whose dimensions are `torch.SymInt`s runs through torch's own shape functions, and these
compare: a matrix product asks whether two sizes are equal, a view whether two products are. torch
keeps such numbers as sympy expressions; here they are polynomials with today's value beside them, a
hundred times as quick, and every question is answered by today's value, so that a model takes the
way it takes today.

    record = Record()
    rows = symbol(record, 64)                  # a SizeNode: torch.SymInt(rows) is a size
    record.equations                           # what torch's shape functions asked, and was so

Entry points: `symbol`, `SizeNode`.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any, final

from .polynomial import Polynomial
from .record import Record

Pairs = tuple[tuple[Polynomial, Polynomial], ...]
"""Pairs of sizes that are equal."""


@final
class Relation:
    """What a comparison says where it comes out true, and where it comes out false.

    Attributes:
        if_true: Pairs of sizes that are equal where it is true.
        if_false: Pairs of sizes that are equal where it is false.
    """

    __slots__ = ("if_false", "if_true")

    def __init__(self, if_true: Pairs = (), if_false: Pairs = ()) -> None:
        self.if_true = if_true
        self.if_false = if_false


@final
class SizeNode:
    """A number as `torch.SymInt`, `SymBool` and `SymFloat` hold it; torch calls it by its names.

    Attributes:
        record: Where its symbols and what is said of them stand.
        polynomial: What it is; None for a truth value or a float.
        hint: Today's value.
        relation: For a truth value, what it says.
    """

    __slots__ = ("hint", "polynomial", "record", "relation")

    shape_env = None
    """torch asks whether there is one, and asks the node itself where there is none."""

    constant = None

    def __init__(
        self,
        record: Record,
        polynomial: Polynomial | None,
        hint: Any,
        relation: Relation | None = None,
    ) -> None:
        self.record = record
        self.polynomial = polynomial
        self.hint = hint
        self.relation = relation

    # What torch asks of every node.

    def is_int(self) -> bool:
        return isinstance(self.hint, int) and not isinstance(self.hint, bool)

    def is_float(self) -> bool:
        return isinstance(self.hint, float)

    def is_bool(self) -> bool:
        return isinstance(self.hint, bool)

    def is_nested_int(self) -> bool:
        return False

    def nested_int(self) -> None:
        return None

    def is_constant(self) -> bool:
        return False

    def is_symbolic(self) -> bool:
        return True

    def has_hint(self) -> bool:
        return True

    def clone(self) -> SizeNode:
        return self

    def __repr__(self) -> builtins.str:
        return repr(self.hint)

    str = _graph_repr = __str__ = __repr__

    @property
    def expr(self) -> Any:
        """Today's value: torch reads it in messages."""
        return self.hint

    _hint = expr

    def maybe_as_int(self) -> int | None:
        constant = self.polynomial.constant_value if self.polynomial is not None else None
        return None if constant is None else int(constant)

    def wrap_int(self, number: int) -> SizeNode:
        remembered = getattr(number, "node", None)
        # A number of another record, which a user's code kept, is a number here.
        if remembered is not None and remembered.record is self.record:
            return remembered  # type: ignore[no-any-return]
        return SizeNode(self.record, Polynomial.constant(number), int(number))

    def wrap_float(self, number: float) -> SizeNode:
        return SizeNode(self.record, None, float(number))

    def wrap_bool(self, flag: bool) -> SizeNode:
        return SizeNode(self.record, None, bool(flag), Relation())

    # Decisions: by today's value, and what they say is noted.

    def guard_int(self, _file: builtins.str = "", _line: int = 0) -> int:
        return int(self.hint)

    int_ = guard_int

    def guard_float(self, _file: builtins.str = "", _line: int = 0) -> float:
        return float(self.hint)

    def guard_bool(self, _file: builtins.str = "", _line: int = 0) -> bool:
        if self.relation is not None:
            for first, second in self.relation.if_true if self.hint else self.relation.if_false:
                self.record.equate(first, second)
        return bool(self.hint)

    bool_ = expect_true = guard_size_oblivious = guard_or_false = guard_or_true = guard_bool

    def statically_known_true(self, _file: builtins.str = "", _line: int = 0) -> bool:
        return False

    # Arithmetic.

    def add(self, other: SizeNode) -> SizeNode:
        return self._sum(other, 1)

    def sub(self, other: SizeNode) -> SizeNode:
        return self._sum(other, -1)

    def _sum(self, other: SizeNode, sign: int) -> SizeNode:
        value = self.hint + sign * other.hint
        if self.polynomial is None or other.polynomial is None:
            return SizeNode(self.record, None, value)
        summand = other.polynomial if sign > 0 else -other.polynomial
        return SizeNode(self.record, self.polynomial + summand, value)

    def mul(self, other: SizeNode) -> SizeNode:
        value = self.hint * other.hint
        if self.polynomial is None or other.polynomial is None:
            return SizeNode(self.record, None, value)
        return SizeNode(self.record, self.polynomial * other.polynomial, value)

    def neg(self) -> SizeNode:
        return SizeNode(self.record, -self.polynomial if self.polynomial else None, -self.hint)

    def int_floordiv(self, other: SizeNode) -> SizeNode:
        """Return the quotient; where today leaves a remainder, every size is to leave it."""
        value, remainder = divmod(self.hint, other.hint)
        if self.polynomial is None or other.polynomial is None:
            return SizeNode(self.record, None, value)
        if remainder and other.polynomial.constant_value is None:
            return self.wrap_int(value)
        dividend = self.polynomial - Polynomial.constant(remainder)
        quotient = dividend.divided_by(other.polynomial)
        if quotient is None:
            return SizeNode(
                self.record, self.record.quotient(dividend, other.polynomial, value), value
            )
        if quotient.symbols:
            self.record.whole.setdefault(quotient)
        return SizeNode(self.record, quotient, value)

    floordiv = int_floordiv

    def mod(self, other: SizeNode) -> SizeNode:
        value = self.hint % other.hint
        if value == 0 and self.polynomial is not None and other.polynomial is not None:
            quotient = self.polynomial.divided_by(other.polynomial)
            if quotient is not None and quotient.symbols:
                self.record.divisible.setdefault(quotient)
        return self.wrap_int(value)

    def pow(self, other: SizeNode) -> SizeNode:
        if not (self.is_int() and other.is_int() and other.hint >= 0):
            return SizeNode(self.record, None, float(self.hint) ** other.hint)
        result = self.wrap_int(1)
        for _ in range(other.hint):
            result = result.mul(self)
        return result

    pow_by_natural = float_pow = pow

    def int_truediv(self, other: SizeNode) -> SizeNode:
        return SizeNode(self.record, None, self.hint / other.hint)

    truediv = float_truediv = int_truediv

    def sym_float(self) -> SizeNode:
        return SizeNode(self.record, None, float(self.hint))

    def sym_int(self) -> SizeNode:
        return self if self.polynomial is not None else self.wrap_int(int(self.hint))

    def _rounded(self, rule: Callable[[Any], int]) -> SizeNode:
        return self if self.polynomial is not None else self.wrap_int(rule(self.hint))

    def floor(self) -> SizeNode:
        return self._rounded(math.floor)

    def ceil(self) -> SizeNode:
        return self._rounded(math.ceil)

    def trunc(self) -> SizeNode:
        return self._rounded(math.trunc)

    def round(self, ndigits: int | None = None) -> SizeNode:
        if self.is_int() or ndigits is None:
            return self._rounded(round)
        return self.wrap_float(round(self.hint, ndigits))

    def is_integer(self) -> SizeNode:
        return self.wrap_bool(self.is_int() or self.hint.is_integer())

    def abs(self) -> SizeNode:
        return self if self.hint >= 0 else self.neg()

    def pos(self) -> SizeNode:
        return self

    def lshift(self, other: SizeNode) -> SizeNode:
        return self.mul(self.wrap_int(1 << other.hint))

    def rshift(self, other: SizeNode) -> SizeNode:
        return self.int_floordiv(self.wrap_int(1 << other.hint))

    def bitwise_and(self, other: SizeNode) -> SizeNode:
        return self.wrap_int(self.hint & other.hint)

    def bitwise_or(self, other: SizeNode) -> SizeNode:
        return self.wrap_int(self.hint | other.hint)

    def bitwise_xor(self, other: SizeNode) -> SizeNode:
        return self.wrap_int(self.hint ^ other.hint)

    def sym_min(self, other: SizeNode) -> SizeNode:
        return self if self.hint <= other.hint else other

    def sym_max(self, other: SizeNode) -> SizeNode:
        return self if self.hint >= other.hint else other

    def sym_sum(self, nodes: Sequence[SizeNode]) -> SizeNode:
        total = nodes[0]
        for node in nodes[1:]:
            total = total.add(node)
        return total

    def sym_ite(self, then_value: SizeNode, else_value: SizeNode) -> SizeNode:
        return then_value if self.guard_bool() else else_value

    # Comparisons.

    def eq(self, other: SizeNode) -> SizeNode:
        return self._truth(self.hint == other.hint, if_true=self._pairs(other))

    def ne(self, other: SizeNode) -> SizeNode:
        return self._truth(self.hint != other.hint, if_false=self._pairs(other))

    def lt(self, other: SizeNode) -> SizeNode:
        return self._truth(self.hint < other.hint)

    def gt(self, other: SizeNode) -> SizeNode:
        return self._truth(self.hint > other.hint)

    def le(self, other: SizeNode) -> SizeNode:
        return self._truth(self.hint <= other.hint)

    def ge(self, other: SizeNode) -> SizeNode:
        return self._truth(self.hint >= other.hint)

    def sym_and(self, other: SizeNode) -> SizeNode:
        first, second = self.relation or Relation(), other.relation or Relation()
        return self._truth(
            self.hint and other.hint,
            if_true=first.if_true + second.if_true,
            # Of a conjunction that is false, only what is false of it was asked.
            if_false=(() if self.hint else first.if_false)
            + (() if other.hint else second.if_false),
        )

    and_ = sym_and

    def sym_or(self, other: SizeNode) -> SizeNode:
        first, second = self.relation or Relation(), other.relation or Relation()
        return self._truth(
            self.hint or other.hint,
            # Of a disjunction, nothing is sure where both hold.
            if_true=first.if_true
            if self.hint and not other.hint
            else second.if_true
            if other.hint and not self.hint
            else (),
            if_false=first.if_false + second.if_false,
        )

    or_ = sym_or

    def sym_not(self) -> SizeNode:
        relation = self.relation or Relation()
        return self._truth(not self.hint, relation.if_false, relation.if_true)

    def _pairs(self, other: SizeNode) -> Pairs:
        if self.polynomial is None or other.polynomial is None:
            return ()
        return ((self.polynomial, other.polynomial),)

    def _truth(self, value: bool, if_true: Pairs = (), if_false: Pairs = ()) -> SizeNode:
        return SizeNode(self.record, None, value, Relation(if_true, if_false))

    # Layouts: a layout is today's, and says nothing of sizes.

    def is_contiguous(self, sizes: Sequence[SizeNode], strides: Sequence[SizeNode]) -> SizeNode:
        expected = 1
        for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
            if size.hint != 1 and stride.hint != expected:
                return self.wrap_bool(False)
            expected *= size.hint
        return self.wrap_bool(True)

    def is_non_overlapping_and_dense_indicator(
        self, sizes: Sequence[SizeNode], strides: Sequence[SizeNode]
    ) -> SizeNode:
        pairs = sorted(
            (stride.hint, size.hint)
            for size, stride in zip(sizes, strides, strict=True)
            if size.hint != 1
        )
        expected = 1
        for stride, size in pairs:
            if stride != expected:
                return self.wrap_int(0)
            expected *= size
        return self.wrap_int(1)

    def is_non_overlapping_and_dense(
        self, sizes: Sequence[SizeNode], strides: Sequence[SizeNode]
    ) -> SizeNode:
        return self.wrap_bool(self.is_non_overlapping_and_dense_indicator(sizes, strides).hint == 1)

    def _no(self, _sizes: Sequence[SizeNode], _strides: Sequence[SizeNode]) -> SizeNode:
        return self.wrap_bool(False)

    is_channels_last_contiguous_2d = is_channels_last_contiguous_3d = _no
    is_channels_last_strides_2d = is_channels_last_strides_3d = _no


def symbol(record: Record, value: int) -> SizeNode:
    """Return a new symbol with today's value."""
    return SizeNode(record, Polynomial.symbol(record.symbol(value)), value)
