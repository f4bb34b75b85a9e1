"""Recorded widths: they count as plain numbers do, and tell what was asked of them."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.objectives.cost.branches.expression import Question, describe, evaluate
from widthwise.objectives.cost.branches.recorded_width import Recorder

WIDTHS = st.integers(1, 600)
FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: a + 2 * b,
    "product": lambda a, b: (a - b) * b,
    "quarter": lambda a, b: a // 4 + b % 7,
    "rounded": lambda a, _b: (a * 3 // 4 + 4) // 8 * 8,
    "float": lambda a, b: round(a * 0.75) + math.ceil(b / 3),
    "trunc": lambda a, b: math.trunc(a * 0.3) - math.floor(b / 8),
    "bits": lambda a, b: (a & (a - 1)) | (b >> 2) ^ 3,
    "reflected": lambda a, b: 1000 - a + (1 << 3) * b - 7 // b,
    "power": lambda a, b: a**2 + abs(-b),
    "extremes": lambda a, b: max(a, b, 64) + min(a, 128),
    "divmod": lambda a, b: divmod(a, 8)[0] + divmod(b, 8)[1],
    "bit length": lambda a, b: a.bit_length() + b,
}


@pytest.mark.parametrize("name", FORMULAS)
@given(a=WIDTHS, b=WIDTHS)
def test_arithmetic_is_that_of_whole_numbers(name: str, a: int, b: int) -> None:
    widths = Recorder().widths({"a": a, "b": b})
    assert FORMULAS[name](widths["a"], widths["b"]) == FORMULAS[name](a, b)


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "extremes"])
@given(a=WIDTHS, b=WIDTHS, other=WIDTHS)
def test_an_expression_is_right_for_other_candidates(name: str, a: int, b: int, other: int) -> None:
    """What was recorded of one candidate predicts the value of another (no branch lies between)."""
    widths = Recorder().widths({"a": a, "b": b})
    result = FORMULAS[name](widths["a"], widths["b"])
    expected = FORMULAS[name](other, a)
    assert evaluate(result.expression, np.array([[other, a]]))[0] == expected


ASKED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "unequal": (lambda a, b: a != b, "a = b"),
    "above": (lambda a, _b: a > 256, "a <= 256"),
    "turned round": (lambda a, _b: 256 < a, "a <= 256"),  # noqa: SIM300
    "at least": (lambda a, b: a >= b, "b <= a"),
    "multiple": (lambda a, _b: a % 64 == 0, "a % 64 = 0"),
    "odd": (lambda a, _b: bool(a % 2), "a % 2 = 0"),
    "member": (lambda a, _b: a in (96, 96), "a = 96"),
    "low rank": (lambda a, b: 8 * (a + b) < a * b, "8 * (a + b) < a * b"),
    "ratio": (lambda a, b: a / b > 2.5, "a / b <= 2.5"),
    "division": (lambda a, _b: a // 3, "a % 3"),
    "remainder that is computed with": (lambda a, _b: a - a % 6, "a % 6"),
    "rounded": (lambda a, _b: int(a * 0.75), "a % 4"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_is_told(name: str) -> None:
    recorder = Recorder()
    for a, b in ((64, 16), (96, 40), (97, 3)):
        ask, _ = ASKED[name]
        widths = recorder.widths({"a": a, "b": b})
        assert ask(widths["a"], widths["b"]) == ask(a, b)
    assert ASKED[name][1] in [question.describe("ab") for question in recorder.questions()]


def test_a_plain_number_that_varies_is_no_constant() -> None:
    """A width lost by `int(str(…))`, or a tensor's size, equals what it is compared with."""
    recorder = Recorder()
    for a in (8, 16, 24):
        width = recorder.widths({"a": a})["a"]
        assert width == int(str(a))
    assert recorder.questions() == []


def test_a_key_of_a_dictionary_is_a_constant_though_it_is_met_once() -> None:
    recorder = Recorder()
    for a in (8, 40, 64):
        {40: 200}.get(recorder.widths({"a": a})["a"])
    assert recorder.questions() == [Question("==", ("width", 0), ("const", 40))]


def test_recorded_numbers_are_copied_pickled_and_printed_as_numbers() -> None:
    width = Recorder().widths({"a": 12})["a"]
    assert copy.deepcopy({"a": width}) == {"a": 12}
    assert type(pickle.loads(pickle.dumps(width))) is int
    assert (f"{width}", str(width), [0] * width) == ("12", "12", [0] * 12)
    assert isinstance(width, int)
    assert {12: "twelve"}[width] == "twelve"


def test_deep_expressions_become_plain_numbers() -> None:
    number: Any = Recorder().widths({"a": 3})["a"]
    for _ in range(100):
        number = number + 1
    assert type(number) is int
    assert number == 103


def test_expressions_are_written_as_people_do() -> None:
    width = Recorder().widths({"a": 3})["a"]
    assert describe(((width + 4) // 8 * 8).expression, "a") == "((a + 4) // 8) * 8"
