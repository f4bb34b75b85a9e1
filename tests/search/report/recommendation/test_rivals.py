"""A runner-up is another network, not a neighbour of the same one."""

import numpy as np
import pytest
from widthwise.search.report.recommendation.rivals import is_twin
from widthwise.search.space.space import Space, Width

SPACE = Space((Width.range("a", 8, 512, step=8), Width.range("b", 8, 512, step=8)))


@pytest.mark.parametrize(
    ("a", "b", "twin"),
    [
        (256, 64, True),
        (248, 72, True),
        (320, 64, True),
        (328, 64, False),
        (256, 88, False),
        (208, 56, True),
        (16, 64, False),
    ],
)
def test_twins_differ_by_a_step_or_a_quarter(a: int, b: int, twin: bool) -> None:
    assert is_twin(SPACE, np.array([[a, b]]), np.array([256, 64])).tolist() == [twin]
    assert is_twin(SPACE, np.array([[256, 64]]), np.array([a, b])).tolist() == [twin]


def test_a_network_without_a_layer_is_no_twin_of_one_with_it() -> None:
    space = Space((Width.of("a", [8]), Width.range("b", 8, 512, step=8, optional=True)))
    rows = np.array([[8, 0], [8, 8], [8, 16]])
    assert is_twin(space, rows, np.array([8, 0])).tolist() == [True, False, False]
    assert is_twin(space, rows, np.array([8, 8])).tolist() == [False, True, True]
