"""Widths that note what a builder asks of them.

A builder that is given `RecordedInt`s instead of plain whole numbers works as before: they are
whole numbers, and torch takes them as such. What is computed from them is recorded as an
expression, and each comparison as a question, so that the branches of a builder are known:

    recorder = Recorder()
    build(recorder.widths({"a": 64, "b": 96}))      # if a != b: …
    recorder.questions()                            # {Question("==", a, b)}

What leaves this arithmetic (`int(a)`, `0.25 * a`, numpy, `math.gcd`) is a plain number from there
on. Such a number, and a tensor's size, look like constants where they are compared with a width: a
constant counts only once it was compared with two different values (see `Recorder.questions`).

Entry points: `Recorder`, `RecordedInt`.
"""

import operator
from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, floor, lcm
from typing import Any, final

from .expression import Expression, Question, is_constant

MAX_DEPTH = 24
"""Deepest expression that is recorded: what is deeper becomes a plain number."""


MAX_DENOMINATOR = 64
"""Largest denominator of a factor such as 0.75 that is told from an irrational one."""


@final
class Recorder:
    """Collects the questions of one or several calls of a builder."""

    def __init__(self) -> None:
        self.hashed: set[Expression] = set()
        self._seen: defaultdict[Question, set[Any]] = defaultdict(set)

    def widths(self, values: Mapping[str, int]) -> dict[str, int]:
        """Return the widths of a candidate, by name, as numbers that are recorded here."""
        return {
            name: RecordedInt(value, ("width", column), self)
            for column, (name, value) in enumerate(values.items())
        }

    def note(self, question: Question, value: Any) -> None:
        """Note a question and the value of its left side."""
        self._seen[question].add(value)

    def note_rounding(self, expression: Expression) -> None:
        """Note that a fraction of widths was rounded: what is left depends on their remainders."""
        denominator = _denominator(expression)
        if 1 < denominator <= MAX_DENOMINATOR:
            for width in _widths_in(expression):
                question = Question("%", width, ("const", denominator))
                self._seen[question].update((0, 1))

    def questions(self) -> list[Question]:
        """Return what was asked, in a fixed order, without accidental constants.

        A plain number that was lost by `int(…)`, or a size of a tensor, changes from candidate to
        candidate and equals what it is compared with; a real constant meets several values. A key
        of a dictionary or set is compared only with its equal.
        """
        return sorted(
            (
                question
                for question, values in self._seen.items()
                if not is_constant(question.right)
                or len(values) > 1
                or question.left in self.hashed
            ),
            key=repr,
        )


def _widths_in(expression: Expression) -> set[Expression]:
    if expression[0] == "width":
        return {expression}
    parts = [part for part in expression[1:] if isinstance(part, tuple)]
    return set().union(*map(_widths_in, parts))


def _denominator(expression: Expression) -> int:
    """Return a number whose multiples, as widths, leave an expression whole."""
    kind, *operands = expression
    if kind == "width":
        return 1
    if kind == "const":
        value = operands[0]
        return (
            Fraction(value).limit_denominator(MAX_DENOMINATOR).denominator if value == value else 1
        )
    result = lcm(*map(_denominator, operands))
    if kind in ("/", "//") and operands[1][0] == "const" and isinstance(operands[1][1], int):
        result *= max(abs(operands[1][1]), 1)
    return result


def _number(value: Any, expression: Expression, recorder: Recorder, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return RecordedInt(value, expression, recorder, depth)
    if isinstance(value, float):
        return RecordedFloat(value, expression, recorder, depth)
    return value


def _operand(value: Any) -> tuple[Any, Expression, int] | None:
    """Return a number as plain one, with its expression and depth; None where it is none."""
    if isinstance(value, RecordedInt):
        return int.__int__(value), value.expression, value.depth
    if isinstance(value, RecordedFloat):
        return float.__float__(value), value.expression, value.depth
    if type(value) in (int, float, bool):
        plain = int(value) if isinstance(value, bool) else value
        return plain, ("const", plain), 0
    return None


def _binary(name: str, function: Callable[[Any, Any], Any], *, swapped: bool) -> Any:
    def method(self: Any, other: Any) -> Any:
        first, second = _operand(self), _operand(other)
        if first is None or second is None:
            return NotImplemented
        if swapped:
            first, second = second, first
        result = function(first[0], second[0])
        if name in ("//", "%") and is_constant(second[1]) and isinstance(second[0], int):
            if name == "//":
                self.recorder.note(Question("%", first[1], second[1]), first[0])
        elif name not in ("%", "//"):
            for _, expression, _ in (first, second):
                if expression[0] == "%" and is_constant(expression[2]):
                    # A remainder that is computed with, not only compared.
                    self.recorder.note(Question("%", *expression[1:]), None)
                    self.recorder.note(Question("%", *expression[1:]), 0)
        expression = (name, first[1], second[1])
        return _number(result, expression, self.recorder, max(first[2], second[2]) + 1)

    return method


def _unary(name: str, function: Callable[[Any], Any]) -> Any:
    def method(self: Any) -> Any:
        plain, expression, depth = _operand(self)  # type: ignore[misc]
        if isinstance(plain, float) and name in ("floor", "ceil", "trunc"):
            self.recorder.note_rounding(expression)
        return _number(function(plain), (name, expression), self.recorder, depth + 1)

    return method


def _comparison(name: str, *, negated: bool = False, swapped: bool = False) -> Any:
    function = {"==": operator.eq, "<": operator.lt, "<=": operator.le}[name]

    def method(self: Any, other: Any) -> Any:
        first, second = _operand(self), _operand(other)
        if first is None or second is None:
            return NotImplemented
        if swapped:
            first, second = second, first
        left, right = (second, first) if is_constant(first[1]) and name == "==" else (first, second)
        if left[1] != right[1]:
            varying = right if is_constant(left[1]) else left
            question = _normal_question(name, left[1], right[1])
            self.recorder.note(question, varying[0])
        answer: bool = function(first[0], second[0])
        return answer != negated

    return method


def _normal_question(name: str, left: Expression, right: Expression) -> Question:
    """Return the question with its constant, if it has one, on the right."""
    if is_constant(left) and name != "==":
        # c < x is not (x <= c), and c <= x is not (x < c): the same question.
        return Question({"<": "<=", "<=": "<"}[name], right, left)
    return Question(name, left, right)


def _methods(integer: bool) -> dict[str, Any]:
    binary = {
        "add": ("+", operator.add),
        "sub": ("-", operator.sub),
        "mul": ("*", operator.mul),
        "truediv": ("/", operator.truediv),
        "floordiv": ("//", operator.floordiv),
        "mod": ("%", operator.mod),
        "pow": ("**", operator.pow),
    }
    if integer:
        binary |= {
            "and": ("&", operator.and_),
            "or": ("|", operator.or_),
            "xor": ("^", operator.xor),
            "lshift": ("<<", operator.lshift),
            "rshift": (">>", operator.rshift),
        }
    methods: dict[str, Any] = {}
    for method, (name, function) in binary.items():
        methods[f"__{method}__"] = _binary(name, function, swapped=False)
        methods[f"__r{method}__"] = _binary(name, function, swapped=True)
    methods |= {
        "__neg__": _unary("neg", operator.neg),
        "__abs__": _unary("abs", abs),
        "__eq__": _comparison("=="),
        "__ne__": _comparison("==", negated=True),
        "__lt__": _comparison("<"),
        "__le__": _comparison("<="),
        "__gt__": _comparison("<", swapped=True),
        "__ge__": _comparison("<=", swapped=True),
    }
    return methods


class _Recorded:
    """What recorded numbers have in common."""

    expression: Expression
    recorder: Recorder
    depth: int

    def __hash__(self) -> int:
        # A key of a dictionary or set: every value may be a case of its own.
        self.recorder.hashed.add(self.expression)
        plain, *_ = _operand(self)  # type: ignore[misc]
        return hash(plain)

    def __bool__(self) -> bool:
        nonzero: bool = operator.ne(self, 0)
        return nonzero

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __reduce__(self) -> Any:
        plain, *_ = _operand(self)  # type: ignore[misc]
        return type(plain), (plain,)


class RecordedInt(_Recorded, int):
    """A whole number that notes what is asked of it."""

    def __new__(
        cls, value: int, expression: Expression, recorder: Recorder, depth: int = 0
    ) -> "RecordedInt":
        """Return the number, of this expression."""
        number = int.__new__(cls, value)
        number.expression, number.recorder, number.depth = expression, recorder, depth
        return number

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def bit_length(self) -> Any:
        """Return the number of bits, recorded."""
        return _number(
            int.bit_length(self), ("bit_length", self.expression), self.recorder, self.depth + 1
        )

    def _unchanged(self) -> "RecordedInt":
        return self

    __floor__ = __ceil__ = __trunc__ = _unchanged

    def __round__(self, digits: Any = None) -> Any:
        return self if digits is None else int.__round__(self, digits)


class RecordedFloat(_Recorded, float):
    """A fraction computed from widths that notes what is asked of it."""

    def __new__(
        cls, value: float, expression: Expression, recorder: Recorder, depth: int = 0
    ) -> "RecordedFloat":
        """Return the number, of this expression."""
        number = float.__new__(cls, value)
        number.expression, number.recorder, number.depth = expression, recorder, depth
        return number

    __floor__ = _unary("floor", floor)
    __ceil__ = _unary("ceil", ceil)
    __trunc__ = _unary("trunc", int)

    def __int__(self) -> int:
        self.recorder.note_rounding(self.expression)
        return int(float.__float__(self))

    def __round__(self, digits: Any = None) -> Any:
        if digits is not None:
            return float.__round__(self, digits)
        self.recorder.note_rounding(self.expression)
        return _number(
            float.__round__(self), ("round", self.expression), self.recorder, self.depth + 1
        )


for _class, _integer in ((RecordedInt, True), (RecordedFloat, False)):
    for _name, _method in _methods(_integer).items():
        setattr(_class, _name, _method)
