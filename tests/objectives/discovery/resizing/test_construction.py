"""How a user's function builds its model, and the same with other numbers."""

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from widthwise.objectives.discovery.resizing.construction import Construction, Integer, record


class Net(nn.Module):
    def __init__(self, hidden: int, *, outputs: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(5, hidden, bias=bias)
        self.last = nn.Linear(hidden, outputs)


class Wider(Net):
    def __init__(self, hidden: int = 8) -> None:
        super().__init__(hidden)


@dataclass
class Config:
    width: int = 6


class Configured(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.linear = nn.Linear(5, config.width)


class Positional(nn.Module):
    def __init__(self, inputs: int, *hidden: int, **more: int) -> None:
        super().__init__()
        sizes = [inputs, *hidden, *more.values()]
        self.layers = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(sizes)))


def of(construction: Construction, name: str) -> Integer:
    (integer,) = (i for i in construction.integers if i.name == name)
    return integer


def test_the_constructors_number_is_changed_inside_the_users_function() -> None:
    def make_model() -> nn.Module:
        model = Net(7)
        nn.init.constant_(model.first.weight, 0.25)  # what comes after is done again
        return model

    construction, _ = record(make_model)
    model: Any = construction.build({of(construction, "hidden"): 10})
    assert model.first.weight.shape == (10, 5)
    assert bool((model.first.weight == 0.25).all())
    assert construction.call({of(construction, "hidden"): 10}) == "Net(hidden=10)"
    assert construction.build({}).first.weight.shape == (7, 5)  # type: ignore[union-attr]


def test_the_functions_own_numbers_come_first() -> None:
    def make_model(size: int = 9) -> nn.Module:
        return Net(size)

    construction, _ = record(make_model)
    assert [i.call for i in construction.integers] == ["function", "root", "root"]
    model: Any = construction.build({construction.integers[0]: 4})
    assert model.first.out_features == 4
    assert str(construction.call({construction.integers[0]: 4})).endswith("make_model(size=4)")


def test_a_class_is_called_with_its_own_numbers() -> None:
    construction, _ = record(Wider)
    assert [(i.name, i.value) for i in construction.integers] == [("hidden", 8)]
    assert construction.call({construction.integers[0]: 5}) == "Wider(hidden=5)"


def test_the_models_own_construction_is_changed_and_not_anothers_of_its_type() -> None:
    made: list[Any] = []

    def make_model() -> nn.Module:
        made.append(Net(3))
        made.append(Net(4))
        return made[-1]  # type: ignore[no-any-return]

    construction, _ = record(make_model)
    made.clear()
    model: Any = construction.build({of(construction, "hidden"): 11})
    assert model.first.out_features == 11
    assert made[0].first.out_features == 3


def test_numbers_of_a_configuration_object() -> None:
    construction, _ = record(lambda: Configured(Config()))
    (integer,) = construction.integers
    assert (integer.name, integer.in_config) == ("width", True)
    model: Any = construction.build({integer: 12})
    assert model.linear.out_features == 12
    assert construction.call({integer: 12}) == "Configured(config=Config(width=12))"


def test_positional_and_further_named_arguments_are_handed_on() -> None:
    construction, _ = record(lambda: Positional(5, 8, 6, last=4))
    model: Any = construction.build({of(construction, "hidden_1"): 7, of(construction, "last"): 3})
    assert [layer.out_features for layer in model.layers] == [8, 7, 3]


def test_the_constructor_is_as_before_afterwards() -> None:
    before = Net.__init__, Wider.__init__
    construction, _ = record(lambda: Wider(5))
    construction.build({construction.integers[0]: 6})
    assert (Net.__init__, Wider.__init__) == before
    assert "__init__" not in vars(type("Sub", (Net,), {}))
    sub = type("Sub", (Net,), {})
    record(lambda: sub(5))
    assert "__init__" not in vars(sub)


def test_a_sequential_has_no_numbers() -> None:
    construction, model = record(lambda: nn.Sequential(nn.Linear(4, 6)))
    assert construction.integers == ()
    assert isinstance(model, nn.Sequential)
    assert torch.is_tensor(construction.build({})[0].weight)  # type: ignore[index]
