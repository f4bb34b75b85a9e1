"""Constraints: the sentence that says which one is broken."""

import pytest
from widthwise.search.space.space import Divisible, Order, Space, Tie, Width


@pytest.mark.parametrize(
    ("constraint", "sentence"),
    [
        pytest.param(Tie(("a", "b")), "b must equal a", id="tie"),
        pytest.param(Divisible("a", by="b"), "a must be divisible by b", id="divisible"),
        pytest.param(Order(("a", "b"), "non-decreasing"), "b must be at least a", id="order"),
    ],
)
def test_explains_which_rule_is_broken(constraint, sentence):
    space = Space([Width.of("a", [4, 6]), Width.of("b", [4, 6])], [constraint])
    assert space.explain((6, 4)) == f"a is 6 and b is 4, but {sentence}"
