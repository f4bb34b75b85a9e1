"""Variables: a contradiction of widths and constraints names those that make it."""

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.space.space import Order, Space, Tie, Width


def test_a_contradiction_names_its_constraints_and_no_others():
    widths = [Width.range("a", 16, 64), Width.range("b", 128, 256), Width.range("c", 1, 512)]
    innocent, guilty = Order(("c", "a"), "non-increasing"), Order(("a", "b"), "non-increasing")
    with pytest.raises(SpecError) as refused:
        Space(widths, [innocent, guilty])
    assert str(refused.value) == (
        "no candidate meets (order = 'non-increasing' over a, b), where a is 16 to 64 and "
        "b is 128 to 256; widen a width or drop a constraint"
    )


def test_a_contradiction_of_two_names_both():
    widths = [Width.of("a", [2, 4]), Width.of("b", [3, 4, 5]), Width.of("c", [3, 5])]
    with pytest.raises(SpecError, match=r"\(tie of a, b\) together with \(tie of b, c\)"):
        Space(widths, [Tie(("a", "b")), Tie(("b", "c"))])
