"""Steps keep the space: ties move together, orders push, divisors are respected."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from widthwise.search.report.diagnosis.steps import Layer, layers_of, narrower, wider
from widthwise.search.space.constraints import Constraint, Divisible, Order, Tie
from widthwise.search.space.space import Space, Width

A, B, C = (Width.range(name, 8, 64, step=8) for name in "abc")


def layer(space: Space, name: str) -> Layer:
    return next(each for each in layers_of(space) if name in each.names)


def test_a_free_layer_moves_alone() -> None:
    space = Space((A, B))
    row = space.as_row({"a": 24, "b": 16})
    step = wider(space, row, layer(space, "a"))
    assert step is not None
    assert (step.end, step.moved_along, step.row.tolist()) == (32, (), [32, 16])
    double = wider(space, row, layer(space, "a"), 2.0)
    assert double is not None
    assert double.end == 48
    assert double.octaves == pytest.approx(1.0)
    assert double.sign == 1
    half = narrower(space, row, layer(space, "a"), 2.0)
    assert half is not None
    assert (half.end, half.sign) == (8, -1)


def test_the_ends_of_a_range_are_ends() -> None:
    space = Space((A,))
    assert wider(space, space.as_row({"a": 64}), layer(space, "a")) is None
    assert narrower(space, space.as_row({"a": 8}), layer(space, "a")) is None
    assert wider(space, space.as_row({"a": 40}), layer(space, "a"), 2.0) is None


def test_tied_widths_are_one_layer() -> None:
    space = Space((A, B, C), (Tie(("a", "c")),))
    assert [each.names for each in layers_of(space)] == [("a", "c"), ("b",)]
    assert layers_of(space)[0].title == "a = c"
    step = wider(space, space.as_row({"a": 8, "b": 8, "c": 8}), layer(space, "a"))
    assert step is not None
    assert step.row.tolist() == [16, 8, 16]


def test_an_order_moves_the_others_along() -> None:
    space = Space((A, B, C), (Order(("a", "b", "c"), "non-increasing"),))
    row = space.as_row({"a": 16, "b": 16, "c": 16})
    step = wider(space, row, layer(space, "c"), 2.0)
    assert step is not None
    assert (step.row.tolist(), step.moved_along) == ([32, 32, 32], ("a", "b"))
    back = narrower(space, row, layer(space, "a"))
    assert back is not None
    assert (back.row.tolist(), back.moved_along) == ([8, 8, 8], ("b", "c"))


def test_values_that_do_not_divide_are_stepped_over() -> None:
    space = Space((Width.range("d", 8, 64, step=4), Width.of("h", [8, 12])), (Divisible("d", "h"),))
    step = wider(space, space.as_row({"d": 24, "h": 12}), layer(space, "d"))
    assert step is not None
    assert step.end == 36


@pytest.mark.parametrize(
    "constraints",
    [
        pytest.param((Order(("a", "b", "c"), "non-decreasing"),), id="rising"),
        pytest.param((Order(("a", "c"), "non-increasing"), Tie(("a", "b"))), id="order and tie"),
        pytest.param((Divisible("a", "b"), Order(("b", "c"), "non-decreasing")), id="divisible"),
    ],
)
def test_every_step_is_in_the_space_and_the_least(constraints: tuple[Constraint, ...]) -> None:
    small = [Width.of(name, [2, 4, 6, 8]) for name in "abc"]
    space = Space(tuple(small), constraints)
    rows = space.enumerate()
    for row, each, factor in itertools.product(rows, layers_of(space), (1.0, 2.0)):
        alone = [
            other
            for other in rows
            if all(
                other[column] == row[column] for column in range(3) if column not in each.columns
            )
            and other[each.columns[0]] > row[each.columns[0]]
            and other[each.columns[0]] >= factor * row[each.columns[0]]
        ]
        step = wider(space, row, each, factor)
        if alone:
            assert step is not None
            assert step.row.tolist() == min(alone, key=lambda x: x.sum()).tolist()
        elif step is not None:
            assert space.contains_rows(step.row[None, :])[0]
            assert step.moved_along
            assert np.any(step.row > row)


def test_an_absent_layer_takes_no_step_and_none_leads_to_absence() -> None:
    space = Space((A, Width.range("d", 8, 64, step=8, optional=True)))
    absent, least = space.as_row({"a": 24, "d": 0}), space.as_row({"a": 24, "d": 8})
    assert wider(space, absent, layer(space, "d")) is None
    assert narrower(space, absent, layer(space, "d")) is None
    assert narrower(space, least, layer(space, "d")) is None
