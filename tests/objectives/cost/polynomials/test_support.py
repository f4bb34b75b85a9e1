"""Which basis functions are expected of the shapes of parameters: enough, and few."""

import numpy as np
import pytest
from widthwise.objectives.cost.polynomials.support import likely_exponents

ROWS = np.array(np.meshgrid(range(2, 8), range(8, 40, 8), range(16, 80, 16))).reshape(3, -1).T


def test_heads_their_size_and_a_hidden_width_need_thirteen_functions() -> None:
    shapes = [((3 * h * s, h * s), (h * s, h * s), (f, h * s), (h * s,)) for h, s, f in ROWS]
    exponents = likely_exponents(ROWS, shapes)
    assert exponents is not None
    assert len(exponents) == 13
    assert {(2, 2, 0), (1, 1, 1), (0, 0, 1)} <= set(exponents)
    assert (0, 0, 2) not in exponents


def test_layers_in_a_row_need_products_of_neighbours() -> None:
    shapes = [((a, 20), (b, a), (c, b), (c,)) for a, b, c in ROWS]
    expected = {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)}
    assert set(likely_exponents(ROWS, shapes) or ()) == expected


@pytest.mark.parametrize(
    "shapes",
    [[], [((int(a**1.5), 4),) for a, _, _ in ROWS], [((f, 4),) for _, _, f in ROWS[:3]]],
    ids=["nothing built", "no polynomial", "too few to tell"],
)
def test_no_guess_is_made_without_ground(shapes: list[tuple[tuple[int, ...], ...]]) -> None:
    assert likely_exponents(ROWS[: len(shapes)], shapes) is None
