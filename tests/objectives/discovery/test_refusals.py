"""Refusals: a model that cannot be analysed gets one sentence that says what to hand in instead."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.discovery.discover import discover
from widthwise.objectives.errors import ModelError
from widthwise.objectives.training.step import TensorSpec

FIVE = (TensorSpec(shape=(5,)),)


def layers() -> nn.Module:
    """Return a model that can be analysed."""
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


def compiled() -> nn.Module:
    model = layers()
    model.compile()
    return model


def with_arguments(width: int, depth: int) -> nn.Module:
    raise AssertionError((width, depth))


def on_cuda() -> nn.Module:
    raise AssertionError("Torch not compiled with CUDA enabled")


class OnGPU(nn.Module):
    """Moves its input."""

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError(f"Found no NVIDIA driver on your system for {len(x)} samples")


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(layers(), {nn.Linear}, dtype=torch.qint8)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))


def broken() -> nn.Module:
    raise KeyError("channels")


def leaving() -> nn.Module:
    class Leaving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 8)

        def forward(self, x: Tensor) -> Tensor:
            raise SystemExit(f"{len(x)} samples are too many")

    return Leaving()


class QuantisedLinear(nn.Module):
    """Stands for a layer of one of torch's packages of quantised layers."""


QuantisedLinear.__module__ = "torch.ao.nn.quantized.modules.linear"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(7, r"the model is 7 \(int\): give a torch.nn.Module", id="no-function"),
        pytest.param(with_arguments, "needs the arguments width, depth", id="arguments"),
        pytest.param(lambda: None, "returned None, expected a torch.nn.Module", id="no-module"),
        pytest.param(broken, r"broken raised KeyError: 'channels' \(at .*\); it must", id="raises"),
        pytest.param(on_cuda, "build the model on the CPU", id="cuda"),
        pytest.param(OnGPU, "NVIDIA driver.*let forward use the device", id="cuda-in-forward"),
        pytest.param(nn.Linear, "Linear needs the arguments in_features, out_", id="a-class"),
        pytest.param(
            quantised,
            "layer '0' is quantised .*in floating point",
            marks=pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated"),
            id="quantised-by-torch",
        ),
        pytest.param(
            lambda: nn.Sequential(QuantisedLinear()),
            r"its layer '0' is quantised \(a QuantisedLinear\)",
            id="quantised",
        ),
        pytest.param(leaving, "called with this example: SystemExit", id="exits"),
        pytest.param(
            lambda: nn.Linear(6, 2), "called with this example: RuntimeError", id="wrong-shape"
        ),
    ],
)
def test_a_model_that_cannot_be_analysed_is_refused(
    make: Callable[[], Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=message):
        discover(make, FIVE)


@pytest.mark.slow  # torch imports its compiler
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")
def test_a_compiled_model_is_refused() -> None:
    for make in (compiled, lambda: torch.compile(layers())):
        with pytest.raises(ModelError, match=r"the model is compiled \(torch.compile\): hand in"):
            discover(make, FIVE)


class ThroughNumpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.from_numpy(self.first(x).detach().numpy()))


def test_a_model_that_leaves_torch_is_fixed_and_not_refused() -> None:
    discovery = discover(ThroughNumpy, FIVE)
    assert discovery.groups == ()
    assert [layer.module for layer in discovery.fixed] == ["first", "last"]
    assert all(layer.reason.startswith("values read by numpy (at") for layer in discovery.fixed)


def test_lazy_layers_learn_their_shapes_from_the_example() -> None:
    discovery = discover(lambda: nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 2)), FIVE)
    assert [group.size for group in discovery.groups] == [8]
    assert {layer.reason for layer in discovery.fixed} == {"input size (5)", "output size (2)"}


def test_lazy_layers_get_their_sizes_from_the_example_where_the_model_can_be_made() -> None:
    (group,) = discover(lazy, FIVE).groups
    assert (group.size, len(group.members)) == (8, 3)
    with pytest.raises(ModelError, match=r"lazy layers.*call it once with a batch"):
        discover(lazy(), FIVE)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        pytest.param((), "missing 1 required positional argument: 'input'", id="none"),
        pytest.param((*FIVE, *FIVE), "takes 2 positional arguments but 3", id="two"),
        pytest.param({"y": FIVE[0]}, "unexpected keyword argument 'y'", id="another-name"),
    ],
)
def test_inputs_that_forward_does_not_take_are_refused(inputs: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as raised:
        discover(layers, inputs)
    assert "give the shape of one sample without the batch" in str(raised.value)


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        pytest.param(nn.Linear(5, 3), {"": "output size (3); input size (5)"}, id="one-layer"),
        pytest.param(nn.ReLU(), {}, id="no-parameters"),
    ],
)
def test_no_width_is_an_answer_with_its_reasons(model: nn.Module, reasons: dict[str, str]) -> None:
    discovery = discover(model, FIVE)
    assert discovery.groups == ()
    assert {layer.module: layer.reason for layer in discovery.fixed} == reasons
