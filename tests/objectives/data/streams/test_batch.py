"""What a loader gives, read as a model's arguments and targets."""

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from widthwise.objectives.data.streams.batch import (
    Batch,
    describe_shapes,
    find_tensors,
    map_tensors,
    read_batch,
)
from widthwise.objectives.errors import DataError

X1, X2, Y = torch.rand(4, 3), torch.rand(4, 2), torch.arange(4)
Pair = namedtuple("Pair", ["image", "label"])


@pytest.mark.parametrize(
    ("given", "args", "kwargs", "targets"),
    [
        pytest.param((X1, Y), (X1,), {}, Y, id="pair"),
        pytest.param([X1, Y], (X1,), {}, Y, id="list, as default_collate gives"),
        pytest.param(Pair(X1, Y), (X1,), {}, Y, id="named tuple"),
        pytest.param(((X1, X2), Y), (X1, X2), {}, Y, id="tuple of inputs"),
        pytest.param((X1, X2, Y), (X1, X2), {}, Y, id="three"),
        pytest.param(({"a": X1, "b": X2}, Y), (), {"a": X1, "b": X2}, Y, id="dict of inputs"),
        pytest.param({"a": X1, "labels": Y}, (), {"a": X1}, Y, id="dict"),
        pytest.param({"y": X2, "label": Y}, (), {"y": X2}, Y, id="first name counts"),
        pytest.param({"a": X1, "b": X2}, (), {"a": X1, "b": X2}, None, id="dict without targets"),
        pytest.param({"a": X1, "id": ["u"] * 4, "y": Y}, (), {"a": X1}, Y, id="text is left out"),
        pytest.param(X1, (X1,), {}, None, id="tensor"),
        pytest.param([X1], (X1,), {}, None, id="one-tuple"),
    ],
)
def test_what_a_loader_gives_is_read(given: Any, args: Any, kwargs: Any, targets: Any) -> None:
    batch = read_batch(given)
    assert batch.args == args
    assert dict(batch.kwargs) == kwargs
    assert batch.targets is targets
    assert batch.rows == 4


@pytest.mark.parametrize(
    ("given", "args", "names"),
    [
        pytest.param({"ids": X1, "labels": Y}, (), ["ids", "labels"], id="dict"),
        pytest.param((X1, Y), (X1, Y), [], id="pair"),
        pytest.param(({"ids": X1}, Y), (), ["ids", "labels"], id="dict and targets"),
    ],
)
def test_a_forward_that_returns_its_loss_gets_the_targets(
    given: Any, args: Any, names: list[str]
) -> None:
    batch = read_batch(given, model_loss=True)
    assert batch.args == args
    assert list(batch.kwargs) == names
    assert batch.targets is Y


def test_a_named_target_is_taken() -> None:
    batch = read_batch({"labels": X1, "age": Y}, target="age")
    assert list(batch.kwargs) == ["labels"]
    assert batch.targets is Y


@pytest.mark.parametrize(
    ("given", "target", "says"),
    [
        pytest.param(("a", "b"), None, "a tuple of 2 without a tensor", id="text"),
        pytest.param(None, None, "is None without a tensor", id="none"),
        pytest.param({"a": X1}, "age", "has the keys a: name one", id="no such key"),
        pytest.param((X1, Y), "age", "leave target out", id="no dict"),
        pytest.param({"y": Y}, None, "give it inputs", id="targets alone"),
    ],
)
def test_what_is_no_batch_is_refused(given: Any, target: str | None, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read_batch(given, target=target)
    assert str(caught.value).endswith(".")


def test_arrays_become_tensors() -> None:
    batch = read_batch((np.ones((4, 3), dtype=">f4"), [np.arange(4), np.float64(2)]))
    assert torch.equal(batch.args[0], torch.ones(4, 3))
    assert torch.equal(batch.targets[0], Y)
    assert batch.targets[1].item() == 2.0


def test_a_moved_batch_shares_what_it_shared() -> None:
    batch = read_batch({"a": X1, "labels": Y}).to(torch.device("meta"))
    assert batch.kwargs["a"].device.type == "meta"
    assert batch.given["a"] is batch.kwargs["a"]
    assert batch.given["labels"] is batch.targets


def test_a_packed_sequence_is_one_argument() -> None:
    packed = pack_sequence([torch.rand(3, 2), torch.rand(1, 2)])
    batch = read_batch((packed, torch.arange(2)))
    assert batch.args == (packed,)
    assert batch.rows == 2


def test_a_model_is_called_with_its_arguments() -> None:
    batch = Batch(args=(X1,), kwargs={"scale": 2})
    assert torch.equal(batch.call(lambda x, scale: x * scale), X1 * 2)


def test_nested_values_keep_their_form() -> None:
    nested = {"a": [X1, (Y, "text")], "b": Pair(X2, None)}
    doubled = map_tensors(lambda tensor: tensor * 2, nested)
    assert torch.equal(doubled["a"][1][0], Y * 2)
    assert doubled["a"][1][1] == "text"
    assert isinstance(doubled["b"], Pair)
    assert len(list(find_tensors(nested))) == 3


def test_shapes_are_said() -> None:
    assert describe_shapes({"a": X1, "b": (X2, Y)}, skip=1) == (
        "a: [3] float32, b: ([2] float32, [] int64)"
    )
