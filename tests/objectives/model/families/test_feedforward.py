"""The built-in families: shapes, parameters and options."""

import pytest
import torch
from torch import nn
from widthwise.objectives.model.families.activations import ACTIVATIONS
from widthwise.objectives.model.families.feedforward import MLP_NORMS, build_cnn, build_mlp
from widthwise.objectives.model.family_registry import ACTIVATION_NAMES, FAMILIES, MLP_NORM_NAMES


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_an_mlp_has_the_parameters_of_its_widths() -> None:
    model = build_mlp({"first": 64, "second": 32}, input_shape=(31,), outputs=4)
    assert parameters(model) == (31 + 1) * 64 + (64 + 1) * 32 + (32 + 1) * 4
    assert model(torch.zeros(7, 31)).shape == (7, 4)


@pytest.mark.parametrize(
    ("norm", "extra"), [("none", 64), ("batch", 64 * 2), ("layer", 64 + 64 * 2)]
)
def test_norms_of_an_mlp(norm: str, extra: int) -> None:
    model = build_mlp({"a": 64}, input_shape=(8,), outputs=2, norm=norm)
    assert parameters(model) == 8 * 64 + extra + (64 + 1) * 2
    assert model(torch.randn(5, 8)).shape == (5, 2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_every_activation_of_every_family_trains(family: str, activation: str) -> None:
    shape = (2, 8, 8)
    model = FAMILIES[family].build(
        {"a": 4, "b": 6}, input_shape=shape, outputs=3, activation=activation, dropout=0.2
    )
    model(torch.randn(5, *shape)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert any(isinstance(layer, nn.Dropout) for layer in model)


def test_an_mlp_flattens_images() -> None:
    assert build_mlp({"a": 4}, input_shape=(1, 8, 8), outputs=2)(torch.zeros(3, 1, 8, 8)).ndim == 2


@pytest.mark.parametrize(
    ("shape", "pools"),
    [((1, 8, 8), 2), ((3, 32, 32), 3), ((3, 3, 32), 0), ((1, 4, 4), 1), ((1, 1, 1), 0)],
)
def test_a_cnn_halves_the_side_while_it_is_four_or_more(shape: tuple[int, ...], pools: int) -> None:
    model = build_cnn({"a": 4, "b": 8, "c": 16}, input_shape=shape, outputs=5)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.children()) == pools
    assert model(torch.randn(2, *shape)).shape == (2, 5)
    convolutions = 9 * (shape[0] * 4 + 4 * 8 + 8 * 16)
    assert parameters(model) == convolutions + 2 * (4 + 8 + 16) + (16 + 1) * 5


def test_widths_count_in_their_order_whatever_their_names() -> None:
    model = build_mlp({"zeta": 5, "alpha": 3}, input_shape=(2,), outputs=1)
    linear = [layer for layer in model.children() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [5, 3, 1]


def test_the_registry_names_every_activation_and_norm() -> None:
    assert tuple(ACTIVATIONS) == ACTIVATION_NAMES
    assert tuple(MLP_NORMS) == MLP_NORM_NAMES


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_a_layer_of_width_0_is_not_there(family: str) -> None:
    one, two = (
        FAMILIES[family].build(widths, input_shape=(2, 8, 8), outputs=3)
        for widths in ({"a": 4, "b": 0, "c": 6}, {"a": 4, "c": 6})
    )
    assert [(name, p.shape) for name, p in one.named_parameters()] == [
        (name, p.shape) for name, p in two.named_parameters()
    ]
