"""Lazy layers: made by the objective as a model is built, whatever it is built for."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import count_costs
from widthwise.objectives.data.arrays.result import read_result
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.errors import ModelError
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.lazy import has_lazy_layers
from widthwise.objectives.parametrisation.mup import derive_mup
from widthwise.objectives.training.check_builder import check_builder
from widthwise.objectives.training.settings import ProxySettings
from widthwise.objectives.training.step import StepSpec, TensorSpec
from widthwise.tests.objectives.model.builders import custom_objective

Widths = Mapping[str, int]


def perceptron(widths: Widths) -> nn.Module:
    return nn.Sequential(nn.LazyLinear(widths["a"]), nn.ReLU(), nn.LazyLinear(3))


def convolutions(widths: Widths) -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(widths["a"], 3),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


class Mixed(nn.Module):
    """A lazy head after a layer with a shape, and a lazy buffer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.norm = nn.LazyBatchNorm1d()
        self.head = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.first(x)).relu())  # type: ignore[no-any-return]


def make_data(*shape: int) -> Data:
    x = torch.randn(60, *shape, generator=torch.Generator().manual_seed(0))
    y = (x.flatten(1)[:, 0] > 0).long() + (x.flatten(1)[:, 1] > 0).long()
    return make_dataset(read_result("own", (x, y)), seed=0)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        pytest.param(perceptron, (4,), id="linear"),
        pytest.param(convolutions, (1, 8, 8), id="convolution and norm"),
        pytest.param(lambda widths: Mixed(widths["a"]), (4,), id="among others"),
    ],
)
def test_a_lazy_model_is_checked_counted_and_trained(
    build: Callable[[Widths], nn.Module], shape: tuple[int, ...]
) -> None:
    data = make_data(*shape)
    objective = custom_objective(build, data)
    model = objective.build({"a": 8})
    assert not has_lazy_layers(model)
    assert all(module.training for module in model.modules())
    check_builder(objective, {"a": 4}, {"a": 16})
    step = StepSpec(
        inputs=(TensorSpec(shape=shape),),
        targets=TensorSpec(shape=(), dtype=torch.int64),
        loss=objective.loss,
    )
    costs = count_costs(lambda: objective.build({"a": 8}), step)
    assert costs.parameters == sum(parameter.numel() for parameter in model.parameters())
    mup = derive_mup(objective.build, {"a": 64}, [{"a": 8}], inputs=data.train.inputs[:2])
    settings = ProxySettings(epochs=2, batch_size=16, learning_rate=0.01)
    result = train(objective, {"a": 8}, settings, seed=0, parametrisation=mup)
    assert result.losses[1] < result.losses[0]


def test_a_seed_makes_the_same_lazy_weights() -> None:
    objective = custom_objective(perceptron, make_data(4))
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(objective.build({"a": 8}).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_lazy_model_is_made_without_memory_where_it_is_built_without() -> None:
    objective = custom_objective(perceptron, make_data(4))
    with torch.device("meta"):
        model = objective.build({"a": 8})
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert tuple(model[0].weight.shape) == (8, 4)  # type: ignore[index, union-attr]


class _TakesImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, :, 0, 0])  # type: ignore[no-any-return]


class _Exits(_TakesImages):
    def forward(self, _: Tensor) -> Tensor:
        raise SystemExit(0)


@pytest.mark.parametrize("model", [_TakesImages, _Exits])
def test_a_lazy_model_that_does_not_take_the_data_is_refused(model: Callable[[], Any]) -> None:
    objective = custom_objective(lambda _: model(), make_data(4))
    with pytest.raises(ModelError, match=r"makes the lazy layers raised .* shape \[2, 4\] float32"):
        objective.build({"a": 8})
