"""A width: its values, and its distribution in Optuna."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from widthwise.search.space.space import Space, Width


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (Width.range("a", 16, 512, 16), IntDistribution(16, 512, step=16)),
        (Width.range("a", 1, 8), IntDistribution(1, 8, log=True)),
        (Width.range("a", 1, 8, scale="linear"), IntDistribution(1, 8)),
        (Width.of("a", [16, 32, 64]), CategoricalDistribution((16, 32, 64))),
        (Width.of("a", [3, 7]), IntDistribution(3, 7, step=4)),
        (Width.of("a", [64]), IntDistribution(64, 64)),
    ],
    ids=["stepped", "log", "linear", "choices", "two", "constant"],
)
def test_distributions(width, expected):
    assert Space([width]).distributions() == {"a": expected}


def test_choices_are_sorted_and_counted_once():
    assert Width.of("a", [64, 16, np.int64(16)]).values == (16, 64)
    assert Width.range("a", 10, 31, 10).values == (10, 20, 30)
