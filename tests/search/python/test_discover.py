"""`widthwise.discover`: a module handed over as it is, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import widthwise
from torch import nn


class Net(nn.Module):
    def __init__(self, hidden: int = 12) -> None:
        super().__init__()
        self.first = nn.Linear(5, hidden)
        self.last = nn.Linear(hidden, 3)

    def forward(self, x: Any) -> Any:
        return self.last(self.first(x).relu())


@pytest.mark.parametrize("example", [torch.zeros(2, 5), "5", ("5",), {"x": torch.zeros(4, 5)}])
def test_examples_are_tensors_or_texts(example: Any) -> None:
    found = widthwise.discover(Net, example)
    assert (found.sizes, found.how) == ({"hidden": 12}, "constructor")
    assert found.call({"hidden": 7}) == "Net(hidden=7)"
    model = found.build({"hidden": 7})
    assert [tuple(p.shape) for p in model.parameters()] == [(7, 5), (7,), (3, 7), (3,)]
    assert model(torch.zeros(2, 5)).shape == (2, 3)


def test_a_module_stays_as_it_is() -> None:
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = widthwise.discover(model, torch.zeros(1, 5))
    (name,) = found.sizes
    resized = found.build({name: 6})
    assert isinstance(resized, Net)
    assert resized.first.weight.shape == (6, 5)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [(layer.module, layer.reason) for layer in found.fixed] == [
        ("first", "input size (5)"),
        ("last", "output size (3)"),
    ]
    assert found.to_json()["groups"][0]["size"] == 12


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (3, "the example is"),
        (torch.tensor(1.0), "a single number"),
        ("3y4", "expected the shape of one sample"),
    ],
)
def test_a_wrong_example_is_a_sentence(example: Any, words: str) -> None:
    with pytest.raises(widthwise.SearchError, match=words):
        widthwise.discover(Net, example)
