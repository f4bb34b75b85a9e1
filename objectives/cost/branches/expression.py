"""Whole-number expressions of a candidate's widths, and the questions that a builder asks of them.

An expression is a nested tuple: `("width", 0)` is the first width, `("const", 64)` a number, and
`("%", ("width", 0), ("const", 64))` an operation. It is evaluated over many candidates at once, and
is JSON once its tuples are lists.

    Question("==", ("width", 0), ("width", 1)).evaluate(candidates)    # a == b, [n]

Entry points: `Expression`, `evaluate`, `Question`, `describe`.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...trace.cuda_allocator import Integers

Expression = tuple[Any, ...]
"""`("width", column)`, `("const", number)`, or an operator of `OPERATORS` before its operands."""


def _bit_length(values: NDArray[Any]) -> NDArray[Any]:
    return np.where(values > 0, np.frexp(values.astype(np.float64))[1], 0).astype(np.int64)


OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "neg": operator.neg,
    "abs": np.abs,
    "floor": lambda values: np.floor(values).astype(np.int64),
    "ceil": lambda values: np.ceil(values).astype(np.int64),
    "trunc": lambda values: np.trunc(values).astype(np.int64),
    "round": lambda values: np.rint(values).astype(np.int64),
    "float": lambda values: values.astype(np.float64),
    "bit_length": _bit_length,
}
"""Operations over arrays [n], by the name that they have in an expression."""

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
}
"""The comparisons that are kept; the others are their opposites, or turned round."""


def evaluate(expression: Expression, candidates: Integers) -> NDArray[Any]:
    """Return an expression's values [n] for candidates [n, d]."""
    kind, *operands = expression
    if kind == "width":
        column: NDArray[Any] = candidates[:, operands[0]]
        return column
    if kind == "const":
        return np.full(len(candidates), operands[0])
    with np.errstate(all="ignore"):
        values: NDArray[Any] = np.asarray(
            OPERATORS[kind](*(evaluate(operand, candidates) for operand in operands))
        )
    return values


def is_constant(expression: Expression) -> bool:
    """Return whether an expression names no width."""
    return bool(expression[0] == "const")


def as_expression(state: Sequence[Any]) -> Expression:
    """Return the expression that JSON made lists of."""
    return tuple(as_expression(part) if isinstance(part, list) else part for part in state)


def describe(expression: Expression, names: Sequence[str]) -> str:
    """Return an expression as people write it, with the widths' names."""
    kind, *operands = expression
    if kind == "width":
        return str(names[operands[0]])
    if kind == "const":
        return str(operands[0])
    parts = [describe(operand, names) for operand in operands]
    if len(parts) == 2:
        left, right = (
            f"({part})" if len(operand) == 3 and kind not in "+-" else part
            for part, operand in zip(parts, operands, strict=True)
        )
        return f"{left} {kind} {right}"
    return f"{kind}({parts[0]})"


@final
@dataclass(frozen=True)
class Question:
    """What a builder may decide by: a comparison, or the remainder that a division leaves.

    Attributes:
        kind: One of `COMPARISONS`, or "%" for a remainder.
        left: What is compared or divided.
        right: What it is compared with or divided by.
    """

    kind: str
    left: Expression
    right: Expression

    def evaluate(self, candidates: Integers) -> Integers:
        """Return the answers [n]: 0 or 1 for a comparison, else the remainder."""
        function = COMPARISONS.get(self.kind, OPERATORS["%"])
        with np.errstate(all="ignore"):
            answers = function(evaluate(self.left, candidates), evaluate(self.right, candidates))
        return np.asarray(answers).astype(np.int64)

    def describe(self, names: Sequence[str]) -> str:
        """Return the question as people write it."""
        text = f"{describe(self.left, names)} {self.kind} {describe(self.right, names)}"
        return text.replace("==", "=")

    def state(self) -> list[Any]:
        """Return the question as JSON values; `from_state` reads it."""
        return [self.kind, self.left, self.right]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> "Question":
        """Return the question that `state` wrote."""
        return cls(state[0], as_expression(state[1]), as_expression(state[2]))
