"""Initialisations recorded while a model is built, and repeated at other sizes."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.discovery.resizing.initialisation import (
    InitialisationRecorder,
    draw_like,
)

NORMAL, TRUNCATED, XAVIER = nn.init.normal_, nn.init.trunc_normal_, nn.init.xavier_uniform_
"""As a library has them that imported them before."""


def recipe_of(layer: nn.Module, parameter: Tensor, recorder: InitialisationRecorder) -> Tensor:
    """Return a much larger parameter, filled as the layer's was."""
    torch.manual_seed(0)
    new = torch.empty(400, *(100 for _ in parameter.shape[1:]))
    recorder.recipes_of(layer)[id(parameter)].apply(new)
    return new


def test_a_fixed_deviation_stays_at_another_fan_in() -> None:
    with InitialisationRecorder() as recorder:
        layer = nn.Linear(8, 4)
        nn.init.normal_(layer.weight, std=0.02)
    assert recipe_of(layer, layer.weight, recorder).std().item() == pytest.approx(0.02, rel=0.02)


def test_kaiming_has_the_new_fan_in() -> None:
    with InitialisationRecorder() as recorder:
        layer = nn.Linear(8, 4)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    new = recipe_of(layer, layer.weight, recorder)
    assert new.std().item() == pytest.approx(math.sqrt(2 / 100), rel=0.02)


def test_functions_that_were_imported_before_are_seen() -> None:
    with InitialisationRecorder() as recorder:
        layers = [nn.Linear(8, 4) for _ in range(3)]
        NORMAL(layers[0].weight, std=0.02)
        TRUNCATED(layers[1].weight, std=0.02)
        XAVIER(layers[2].weight)
    new = [recipe_of(layer, layer.weight, recorder) for layer in layers]
    assert new[0].std().item() == pytest.approx(0.02, rel=0.02)
    assert new[1].std().item() == pytest.approx(0.02, rel=0.02)
    assert new[2].std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.02)


def test_methods_of_the_tensor_are_repeated_in_turn() -> None:
    with InitialisationRecorder() as recorder:
        layer = nn.Linear(8, 4)
        layer.weight.data.normal_(0, 1).mul_(0.5)
        with torch.no_grad():
            layer.bias.fill_(3.0).sub_(1.0)
    assert recipe_of(layer, layer.weight, recorder).std().item() == pytest.approx(0.5, rel=0.02)
    assert bool((recipe_of(layer, layer.bias, recorder) == 2).all())


def test_what_the_layer_did_itself_is_known_from_what_came_later() -> None:
    with InitialisationRecorder() as recorder:
        model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4))
        nn.init.zeros_(model[1].weight)  # type: ignore[arg-type]
    recipes = recorder.recipes_of(model)
    by_reset = {name: recipes[id(value)].by_reset for name, value in model.named_parameters()}
    assert by_reset == {"0.weight": True, "0.bias": True, "1.weight": False, "1.bias": True}


def test_copies_of_a_layer_are_initialised_as_it_was() -> None:
    with InitialisationRecorder() as recorder:
        layer = nn.Linear(8, 4)
        nn.init.normal_(layer.weight, std=0.02)
        copied = copy.deepcopy(layer)
    assert recipe_of(copied, copied.weight, recorder).std().item() == pytest.approx(0.02, rel=0.02)


def test_a_part_that_is_filled_is_no_recipe_for_the_whole() -> None:
    with InitialisationRecorder() as recorder:
        layer = nn.Linear(8, 4)
        nn.init.normal_(layer.weight, std=0.02)
        layer.weight.data[0].fill_(5.0)
    assert recipe_of(layer, layer.weight, recorder).std().item() == pytest.approx(0.02, rel=0.02)


def test_what_was_made_from_values_has_no_recipe() -> None:
    with InitialisationRecorder() as recorder:
        layer = nn.Linear(8, 4)
        layer.weight = nn.Parameter(torch.randn(4, 8))
        layer.bias.data.copy_(torch.arange(4.0))
    assert recorder.recipes_of(layer) == {}


def test_torch_is_as_before_afterwards() -> None:
    before = nn.init.normal_, nn.Parameter.__deepcopy__
    with InitialisationRecorder():
        assert nn.init.normal_ is not before[0]
    assert (nn.init.normal_, nn.Parameter.__deepcopy__) == before


@pytest.mark.parametrize(
    ("old", "deviation", "peak"),
    [
        (torch.full((5,), 2.0), 0.0, 2.0),
        (torch.linspace(-1, 1, 1001), math.sqrt(1 / 3), 1.0),
    ],
    ids=["constant", "uniform"],
)
def test_drawn_like_a_constant_or_uniform_one(old: Tensor, deviation: float, peak: float) -> None:
    torch.manual_seed(0)
    new = torch.empty(20_000)
    draw_like(old, new)
    assert new.std().item() == pytest.approx(deviation, rel=0.03, abs=1e-9)
    assert new.abs().max().item() == pytest.approx(peak, rel=0.02)


def test_drawn_like_a_normal_one_and_scaled() -> None:
    torch.manual_seed(0)
    new = torch.empty(20_000)
    draw_like(1 + 0.1 * torch.randn(5_000), new, scale=0.5)
    assert new.mean().item() == pytest.approx(1, abs=0.01)
    assert new.std().item() == pytest.approx(0.05, rel=0.05)
    assert new.abs().max().item() > 1.15  # a normal distribution has tails
