"""Partitions: equal codes exactly for equal answers, no question that divides nothing."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from widthwise.objectives.cost.branches.expression import Question
from widthwise.objectives.cost.branches.partition import Partition, varying_questions

A, B = ("width", 0), ("width", 1)
EQUAL, MULTIPLE = Question("==", A, B), Question("==", ("%", A, ("const", 4)), ("const", 0))
REMAINDER = Question("%", B, ("const", 3))


@given(arrays(np.int64, (20, 2), elements=st.integers(1, 12)))
def test_codes_are_equal_exactly_where_all_answers_are(rows: np.ndarray) -> None:
    codes = Partition(questions=(EQUAL, MULTIPLE, REMAINDER)).codes(rows)
    answers = [(a == b, a % 4 == 0, b % 3) for a, b in rows.tolist()]
    for index, answer in enumerate(answers):
        assert [codes[index] == code for code in codes] == [answer == other for other in answers]


def test_questions_travel_as_json() -> None:
    for question in (EQUAL, MULTIPLE, REMAINDER):
        assert Question.from_state(json.loads(json.dumps(question.state()))) == question


def test_questions_that_divide_nothing_or_the_same_are_left_out() -> None:
    rows = np.array([[4, 4], [8, 8], [5, 6], [7, 6]])
    never = Question("<", A, ("const", 0))
    odd = Question("==", ("%", A, ("const", 2)), ("const", 1))  # the odd ones are unequal
    assert varying_questions([never, EQUAL, MULTIPLE, odd, REMAINDER], rows) == [EQUAL, REMAINDER]


def test_parts_are_named_as_people_do() -> None:
    partition = Partition().with_questions([EQUAL, REMAINDER, EQUAL])
    assert partition.describe(("in", "out")) == "in = out, out % 3"
