"""The luck of the best of many, against a simulation."""

import numpy as np
import pytest
from widthwise.search.report.recommendation.luck import expected_luck


@pytest.mark.parametrize("count", [2, 4, 10, 40, 200])
def test_the_luckiest_of_many_stands_so_far_above(count: int) -> None:
    luckiest = np.random.default_rng(count).standard_normal((20_000, count)).max(axis=1)
    assert expected_luck(count) == pytest.approx(luckiest.mean(), abs=0.03)


def test_one_training_has_no_best() -> None:
    assert expected_luck(1) == 0.0
