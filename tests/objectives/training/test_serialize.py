"""Values as JSON and tensors come back as they were, type by type and bit by bit."""

from __future__ import annotations

import json
import random
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from widthwise.objectives.training.serialize import (
    Serialiser,
    UnserialisableValue,
    cpu_copy,
    deserialise,
)

CPU = torch.device("cpu")
HASHABLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ARRAYS = st.sampled_from(
    [np.arange(6).astype(kind).reshape(2, 3) for kind in ("u4", "i8", "f4", "c16", "?", ">i2")]
    + [np.zeros((0, 2)), np.float32(0.1), np.asarray(3.0), np.eye(3).T[::2]]
)
TENSORS = st.sampled_from(
    [
        torch.arange(6.0).reshape(2, 3).t(),
        torch.zeros(0, 3, dtype=torch.bfloat16),
        torch.tensor(2**62),
        torch.tensor([1j], dtype=torch.complex64).conj(),
        torch.rand(2, requires_grad=True) * 2,
        torch.ones(1).expand(4),
    ]
)
VALUES = st.recursive(
    HASHABLE | ARRAYS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
    ),
    max_leaves=8,
)


def pack_and_unpack(value: Any) -> Any:
    serialiser = Serialiser(CPU)
    stored = json.loads(json.dumps(serialiser.serialise(value, "some")))
    assert all(name.startswith("some.") for name in serialiser.tensors)
    assert all(tensor.is_contiguous() for tensor in serialiser.tensors.values())
    return deserialise(stored, serialiser.tensors, CPU)


def assert_same(value: Any, other: Any) -> None:
    if isinstance(other, torch.Tensor):
        assert type(value) is torch.Tensor
        assert value.dtype == other.dtype
        assert value.tolist() == other.tolist()
        assert not value.requires_grad
    elif isinstance(other, np.ndarray | np.generic):
        assert type(value) is type(other)
        assert value.dtype == other.dtype
        assert value.shape == other.shape
        assert value.tobytes() == other.tobytes()
    else:
        assert type(value) is type(other)
        if isinstance(other, list | tuple):
            for actual, its in zip(value, other, strict=True):
                assert_same(actual, its)
        elif isinstance(other, dict):
            assert list(map(repr, value)) == list(map(repr, other))
            for actual, its in zip(value.values(), other.values(), strict=True):
                assert_same(actual, its)
        elif isinstance(other, set | frozenset):
            assert sorted(map(repr, value)) == sorted(map(repr, other))
        else:
            assert repr(value) == repr(other)


@settings(deadline=None, max_examples=200)
@given(value=VALUES)
def test_a_value_survives_the_round_trip(value: Any) -> None:
    assert_same(pack_and_unpack(value), value)


def test_the_streams_of_python_and_numpy_and_torch() -> None:
    assert pack_and_unpack(random.getstate()) == random.getstate()
    old = np.random.RandomState(3)
    old.randn()
    again = np.random.RandomState(0)
    again.set_state(pack_and_unpack(old.get_state()))
    assert again.randn() == old.randn()
    for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64):
        first, second = np.random.Generator(kind(1)), np.random.Generator(kind(2))
        first.normal()
        second.bit_generator.state = pack_and_unpack(first.bit_generator.state)
        assert first.normal() == second.normal()
    assert torch.equal(pack_and_unpack(torch.get_rng_state()), torch.get_rng_state())


class Level(IntEnum):
    LOW = 1


class Named(dict[str, int]):
    pass


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        print,
        Level.LOW,
        Named(),
        b"bytes",
        np.array([object()]),
        np.array(["text"]),
        np.ma.array([1.0]),
        nn.Parameter(torch.zeros(2)),
        torch.zeros(3).to_sparse(),
        ENDLESS,
        [1, {"deep": (torch.zeros(2), {"deeper": object()})}],
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_unknown_value_is_refused_and_leaves_no_tensors(value: Any) -> None:
    serialiser = Serialiser(CPU)
    serialiser.serialise(torch.zeros(2), "some")
    with pytest.raises(UnserialisableValue):
        serialiser.serialise(value, "some")
    assert list(serialiser.tensors) == ["some.0"]


def test_a_tensor_that_shares_excluded_memory_is_refused() -> None:
    weight = torch.zeros(4, 2)
    serialiser = Serialiser(CPU, [weight])
    assert serialiser.shares_excluded_storage(weight[1:].t())
    assert not serialiser.shares_excluded_storage(weight.clone())
    with pytest.raises(UnserialisableValue, match="shares its memory"):
        serialiser.serialise({"view": weight.view(8)}, "some")


def test_a_copy_shares_nothing() -> None:
    tensor = torch.zeros(2, 3).t()
    copy = cpu_copy(tensor)
    tensor += 1
    assert copy.tolist() == [[0.0, 0.0]] * 3
    assert copy.is_contiguous()
    with pytest.raises(UnserialisableValue):
        cpu_copy(torch.zeros(3).to_sparse())
