"""A width: its values, and its distribution in Optuna."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from widthwise.search.space.space import Space, Width
from widthwise.search.space.width import log_sizes


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (Width.range("a", 16, 512, 16), IntDistribution(16, 512, step=16)),
        (Width.range("a", 1, 8), IntDistribution(1, 8, log=True)),
        (Width.range("a", 1, 8, scale="linear"), IntDistribution(1, 8)),
        (Width.of("a", [16, 32, 64]), CategoricalDistribution((16, 32, 64))),
        (Width.of("a", [3, 7]), IntDistribution(3, 7, step=4)),
        (Width.of("a", [64]), IntDistribution(64, 64)),
        (Width.range("a", 8, 32, 8, optional=True), IntDistribution(0, 32, step=8)),
        (Width.range("a", 1, 3, optional=True), IntDistribution(0, 3)),
        (Width.of("a", [8, 32], optional=True), CategoricalDistribution((0, 8, 32))),
    ],
    ids=[
        "stepped",
        "log",
        "linear",
        "choices",
        "two",
        "constant",
        "optional",
        "optional-log",
        "optional-choices",
    ],
)
def test_distributions(width, expected):
    space = Space([width, Width.of("other", [1])])
    assert space.distributions()["a"] == expected


def test_choices_are_sorted_and_counted_once():
    assert Width.of("a", [64, 16, np.int64(16)]).values == (16, 64)
    assert Width.range("a", 10, 31, 10).values == (10, 20, 30)


def test_an_optional_width_may_be_none_and_its_range_is_that_of_a_layer_that_is_there():
    width = Width.range("a", 8, 24, 8, optional=True)
    assert width.values == (0, 8, 16, 24)
    assert (width.low, width.high, width.format_values()) == (8, 24, "0 or 8 to 24")
    assert "expected one of its 4 values 0 (absent), from 8 to 24" in width.explain(12)
    assert Width.of("a", [1, 2, 4], optional=True).encode([0, 1, 2, 4]).tolist() == [0.5, 0, 0.5, 1]


def test_the_size_of_an_absent_layer_has_a_logarithm():
    assert log_sizes([0, 1, 8]).tolist() == [-1, 0, 3]
