"""Remembered ints: an int for everybody, and a polynomial for whoever asks."""

import copy
import math
import pickle

import torch
from widthwise.objectives.discovery.equations.polynomial import Polynomial
from widthwise.objectives.discovery.equations.record import Record
from widthwise.objectives.discovery.equations.remembered_int import RememberedInt, SizesRemembered
from widthwise.objectives.discovery.equations.symbolic_size import symbol
from widthwise.objectives.trace.fake_model import FakeCPU


def test_it_is_an_int_in_every_respect() -> None:
    number = RememberedInt(symbol(Record(), 12))
    assert isinstance(number, int)
    assert {12: "twelve"}[number] == "twelve"
    assert list(range(number))[-1] == 11
    assert math.sqrt(number * 3) == 6
    assert f"{number:03d}" == "012"
    assert number / 8 == 1.5
    assert number**2 == 144
    assert [0] * number == [0] * 12
    assert max(number, 3) is number
    assert pickle.loads(pickle.dumps(number)) == 12
    assert copy.deepcopy(number) is number


def test_its_sums_products_and_quotients_remember() -> None:
    number = RememberedInt(symbol(Record(), 12))
    own = Polynomial.symbol(0)
    for result, polynomial in (
        (number + 1, own + Polynomial.constant(1)),
        (3 * number, own.scaled(3)),
        (number - number // 4, own - own.divided_by(Polynomial.constant(4))),  # type: ignore[operator]
        (-number, -own),
        (36 // number * number, Polynomial.constant(36)),
    ):
        if isinstance(result, RememberedInt):
            assert result.node.polynomial == polynomial
        else:
            assert polynomial.constant_value == result
    assert number % 5 == 2
    assert divmod(number, 4) == (3, 0)


def test_what_is_found_equal_is_noted_and_what_is_not_is_not() -> None:
    record = Record()
    first, second, third = (RememberedInt(symbol(record, size)) for size in (12, 12, 6))
    assert first != third
    assert not record.equations
    assert first == second
    assert second == 2 * third
    assert list(record.equations) == [
        Polynomial.symbol(0) - Polynomial.symbol(1),
        Polynomial.symbol(1) - Polynomial.symbol(2).scaled(2),
    ]


def test_sizes_of_tensors_are_remembered_on_their_way_through_a_model() -> None:
    record = Record()
    rows = symbol(record, 12)
    mode = FakeCPU()
    mode.cache_enabled = False
    with mode, SizesRemembered(record, {}):
        tensor = torch.empty((5, RememberedInt(rows)))
        assert type(tensor.shape[0]) is int
        size = tensor.shape[-1]
        assert isinstance(size, RememberedInt)
        heads = tensor.view(5, 3, size // 3).transpose(0, 1)
        assert heads.shape == (3, 5, 4)
        last = heads.size(2)
    assert isinstance(last, RememberedInt)
    assert last.node.polynomial == Polynomial.symbol(0).divided_by(Polynomial.constant(3))
