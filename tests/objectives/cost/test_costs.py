"""One candidate: known figures, any kind of model, any habit of a builder, and clear refusals."""

import random
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import FIELDS, StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.registry import macs_per_sample
from widthwise.objectives.errors import CostError, ModelError

Pair = namedtuple("Pair", "first second")


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


def step(*shape: int, **options: Any) -> StepSpec:
    return StepSpec(inputs=(TensorSpec(shape=shape),), **options)


class TwoHeads(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, 64), nn.Linear(64, 32)
        self.left, self.right = nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.second(self.first(x).relu()).relu()
        return self.left(x), self.right(x)


class Calls(nn.Module):
    """A module whose forward pass is a given function of its layer and its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self.layer, *inputs)


@pytest.mark.parametrize(
    ("build", "shape", "parameters"),
    [
        (lambda: TwoHeads(31), (31,), 4_392),
        (lambda: TwoHeads(11), (11,), 3_112),
        (lambda: nn.TransformerEncoderLayer(768, 12, 3072), (4, 768), 7_087_872),
        (lambda: nn.Linear(64, 32), (64,), 2_080),
        (lambda: nn.Conv2d(3, 64, 3), (3, 8, 8), 1_792),
        (lambda: nn.BatchNorm1d(64), (64,), 128),
    ],
    ids=["two heads", "two heads, 11 inputs", "BERT-base layer", "linear", "conv", "batch norm"],
)
def test_known_parameter_counts(
    build: Callable[[], nn.Module], shape: tuple[int, ...], parameters: int
) -> None:
    costs = count_costs(build, step(*shape, batch_size=4))
    assert costs.parameters == costs.trainable_parameters == parameters


def test_the_two_headed_net() -> None:
    costs = count_costs(lambda: TwoHeads(31), step(31)).as_dict()
    assert tuple(costs) == FIELDS
    assert costs["macs"] == 31 * 64 + 64 * 32 + 2 * 32 * 4
    assert costs["flops"] == 2 * costs["macs"]


class TiedHead(nn.Module):
    """A tied embedding, a buffer that is saved and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(50, 8), nn.Linear(8, 50)
        self.out.weight = self.embedding.weight
        self.register_buffer("mean", torch.zeros(8, dtype=torch.float64))
        self.register_buffer("mask", torch.zeros(9), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embedding(x) + self.mean.float())


@pytest.mark.parametrize(
    ("build", "inputs", "size"),
    [
        (lambda: TwoHeads(31), TensorSpec(shape=(31,)), 4 * 4_392),
        (TiedHead, TensorSpec(shape=(7,), dtype=torch.int64), 4 * 50 * 8 + 4 * 50 + 8 * 8),
        (lambda: nn.BatchNorm2d(5), TensorSpec(shape=(5, 2, 2)), 4 * 5 * 4 + 8),
        (lambda: nn.Linear(3, 2).half().float(), TensorSpec(shape=(3,)), 4 * 8),
        (nn.Flatten, TensorSpec(shape=(3,)), 0),
    ],
    ids=["two heads", "tied, with buffers", "batch norm", "cast", "no parameters"],
)
def test_file_size_is_the_bytes_that_torch_saves(
    build: Callable[[], nn.Module], inputs: TensorSpec, size: int
) -> None:
    """A file that torch saves is an archive with an entry for each storage."""
    file = BytesIO()
    torch.save(build().state_dict(), file)
    entries = ZipFile(file).infolist()
    saved = sum(entry.file_size for entry in entries if "/data/" in entry.filename)
    assert count_costs(build, StepSpec(inputs=(inputs,))).file_size == size == saved


def test_nothing_is_allocated() -> None:
    """Four terabytes of parameters."""
    costs = count_costs(lambda: nn.Linear(10**6, 10**6, bias=False), step(10**6))
    assert costs.parameters == costs.macs == 10**12
    assert costs.train_memory > 4 * 4 * 10**12


@pytest.mark.parametrize(
    "forward",
    [
        lambda layer, x: {"logits": layer(x), "extra": [x, None, 3]},
        lambda layer, x: (layer(x), x.long()),
        lambda layer, x: [layer(x)],
        lambda layer, x: Pair(layer(x), "text"),
        lambda layer, x: Output(layer(x)),
    ],
    ids=["dict", "tuple with integers", "list", "named tuple", "dataclass"],
)
def test_any_kind_of_output(forward: Callable[..., Any]) -> None:
    costs = count_costs(lambda: Calls(forward), step(3))
    assert (costs.macs, costs.step_flops) == (6, 2 * 2 * 6)


def test_several_inputs_and_integer_ones() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.numbers, self.words = nn.Linear(3, 2), nn.Embedding(50, 2)

        def forward(self, x: Tensor, words: Tensor) -> Tensor:
            return self.numbers(x) + self.words(words).mean(1)

    inputs = (TensorSpec(shape=(3,)), TensorSpec(shape=(7,), dtype=torch.int64))
    costs = count_costs(Both, StepSpec(inputs=inputs, batch_size=4))
    assert costs.parameters == 8 + 100
    assert costs.train_breakdown.batch == 4 * (3 * 4 + 7 * 8)


def test_a_model_without_parameters() -> None:
    costs = count_costs(nn.Flatten, step(3, 3, batch_size=4))
    assert (costs.parameters, costs.flops, costs.step_flops) == (0, 0, 0)
    assert costs.inference_memory == 4 * 9 * 4


def test_a_model_that_is_frozen_as_a_whole() -> None:
    costs = count_costs(lambda: nn.Linear(3, 2).requires_grad_(False), step(3))
    assert (costs.parameters, costs.trainable_parameters) == (8, 0)
    assert costs.step_flops == costs.flops
    assert costs.train_breakdown.optimizer == costs.train_breakdown.gradients == 0


def test_checkpointing_trades_memory_for_flops() -> None:
    def build(checkpointed: bool) -> nn.Module:
        body = nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(20)])

        def forward(layer: nn.Module, x: Tensor) -> Tensor:
            if not checkpointed:
                return layer(body(x))
            return layer(torch.utils.checkpoint.checkpoint(body, x, use_reentrant=False))

        model = Calls(forward)
        model.body = body
        return model

    plain = count_costs(lambda: build(False), step(3, batch_size=512))
    checkpointed = count_costs(lambda: build(True), step(3, batch_size=512))
    assert plain.flops == checkpointed.flops
    assert checkpointed.step_flops > plain.step_flops
    random_state = torch.get_rng_state().nbytes
    assert checkpointed.inference_memory == plain.inference_memory + random_state


def test_work_that_the_batch_shares_is_rounded_up() -> None:
    """5 samples × 6 MACs and a product of 2 × 3 × 2 made once: 42 / 5 a sample, rounded up."""
    shared = Calls(lambda layer, x: layer(x) @ (layer.weight @ layer.weight.t()).sum().expand(2, 1))
    costs = count_costs(lambda: shared, step(3, batch_size=5))
    total = 5 * 6 + 12 + 5 * 2
    assert costs.macs == -(-total // 5) == macs_per_sample(2 * total, step(3, batch_size=5))


def test_counting_twice_gives_the_same() -> None:
    first, second = (count_costs(lambda: TwoHeads(31), step(31)) for _ in range(2))
    assert first == second


def everything_a_builder_does() -> nn.Module:
    torch.manual_seed(3)
    np.random.seed(0)
    random.seed(1)
    layer = nn.Linear(3, 4).to("cpu").to(torch.device("cpu")).double().float()
    nn.init.xavier_uniform_(layer.weight)
    nn.init.orthogonal_(layer.weight)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    layer.weight.data.copy_(torch.from_numpy(np.ones((4, 3), dtype=np.float32)))
    layer.weight.data = torch.tensor(np.ones((4, 3)), dtype=torch.float32)
    layer.register_buffer("scale", torch.tensor([1.0, 2.0]))
    with torch.no_grad():
        layer.bias.fill_(2).mul_(np.float64(3.0))
    return layer


def numpy_parameter() -> nn.Module:
    model = Calls(lambda layer, x: layer(x) * model.weight)
    model.weight = nn.Parameter(torch.from_numpy(np.ones(2, dtype=np.float32)))
    return model


def meta_device() -> nn.Module:
    return nn.Linear(3, 4, device="meta")


def copied_layers() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
    return nn.Sequential(nn.Linear(3, 4), nn.TransformerEncoder(layer, 2))


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (everything_a_builder_does, 16),
        (numpy_parameter, 10),
        (meta_device, 16),
        (copied_layers, 16 + 2 * (4 * 12 + 12 + 4 * 4 + 4 + 2 * (4 * 4 + 4) + 4 * 4)),
        (lambda: torch.compile(nn.Linear(3, 4)), 16),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), 20),
    ],
    ids=["seeds, to, init, numpy", "numpy parameter", "meta", "deepcopy", "compile", "weight norm"],
)
def test_builders_run_without_memory(build: Callable[[], nn.Module], parameters: int) -> None:
    costs = count_costs(build, step(2, 3, batch_size=4))
    assert costs.parameters == parameters
    assert not costs.notes


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(torch.linspace(0, 0.1, 3)[1].item())),
        lambda: nn.Sequential(nn.LazyLinear(4), nn.ReLU()),
    ],
    ids=["reads values", "lazy layers"],
)
def test_builders_that_need_memory_are_run_for_real(build: Callable[[], nn.Module]) -> None:
    costs = count_costs(build, step(3, batch_size=4))
    assert costs.parameters == 16
    assert any("built for real" in note for note in costs.notes)


def test_random_streams_are_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    count_costs(everything_a_builder_does, step(3))
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_a_model_from_outside_comes_back_untouched() -> None:
    layer = nn.Linear(3, 2)
    weight = layer.weight.detach().clone()
    count_costs(lambda: nn.Sequential(layer, nn.Linear(2, 2)), step(3))
    assert type(layer.weight) is nn.Parameter
    assert torch.equal(layer.weight, weight)
    assert layer.weight.grad is None
    assert layer.training


@pytest.mark.parametrize(
    "context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"]
)
def test_gradients_count_whatever_the_caller_set(context: Callable[[], Any]) -> None:
    with context():
        costs = count_costs(lambda: nn.Linear(3, 2), step(3))
    assert costs.step_flops == 2 * 2 * 6


def test_nothing_is_printed_or_warned(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    count_costs(lambda: nn.TransformerEncoderLayer(4, 2, 4), step(3, 4))
    with pytest.raises(CostError):
        count_costs(lambda: nn.Linear(4, 2), step(3))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def raising() -> nn.Module:
    raise ZeroDivisionError("no width")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (raising, ["ZeroDivisionError: no width", "test_costs.py line"]),
        (lambda: None, ["returned None", "torch.nn.Module"]),
        (lambda: "model", ["returned a str", "torch.nn.Module"]),
    ],
    ids=["raises", "None", "no module"],
)
def test_builders_that_are_refused(build: Callable[[], Any], message: list[str]) -> None:
    with pytest.raises(ModelError) as refusal:
        count_costs(build, step(3))
    assert refusal.value.exit_code == 2
    assert_one_sentence(refusal.value, message)


def branches(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x) if x.sum() > 0 else x


@torch.library.custom_op("widthwise_tests::unknown_shape", mutates_args=())
def unknown_shape(x: Tensor) -> Tensor:
    return x.clone()


@torch.library.custom_op("widthwise_tests::known_shape", mutates_args=())
def known_shape(x: Tensor) -> Tensor:
    return x.clone()


known_shape.register_fake(torch.empty_like)


def test_an_operator_of_the_users_own_is_named_as_uncounted() -> None:
    costs = count_costs(lambda: Calls(lambda layer, x: layer(known_shape(x))), step(3))
    assert costs.uncounted == ("widthwise_tests.known_shape",)
    assert any("widthwise_tests.known_shape" in note for note in costs.notes)
    assert costs.macs == 6
    assert count_costs(lambda: TwoHeads(31), step(31)).uncounted == ()


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda layer, x: layer(x) * x.sum().item(), ["depends on the data", "torch.where"]),
        (branches, ["depends on the data", "test_costs.py line"]),
        (lambda layer, x: layer(x[x[:, 0] > 0]), ["depends on the data", "aten.nonzero"]),
        (lambda layer, x: layer(x) * x.numpy().sum(), [".numpy()"]),
        (lambda layer, x: layer(x) * len(x.tolist()), ["function of the widths"]),
        (lambda layer, x: layer(x) * torch.unique(x).numel(), ["depends on the data", "unique"]),
        (lambda layer, x: unknown_shape(layer(x)), ["unknown_shape", "register_fake"]),
        (lambda *_: None, ["returned None", "floating-point"]),
        (lambda layer, x: layer(x[:, :2]), ["[64, 3] float32", "RuntimeError"]),
    ],
    ids=[
        "item",
        "if",
        "boolean index",
        "numpy",
        "real values",
        "number of values",
        "operator without a shape rule",
        "no output",
        "wrong shape",
    ],
)
def test_steps_that_are_refused(forward: Callable[..., Any], message: list[str]) -> None:
    with pytest.raises(CostError) as refusal:
        count_costs(lambda: Calls(forward), step(3))
    assert refusal.value.exit_code == 2
    assert_one_sentence(refusal.value, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, ["0", "at least 1"]),
        ({"optimizer": "lion"}, ["'lion'", "adamw"]),
    ],
    ids=["batch size", "optimizer"],
)
def test_step_specs_that_are_refused(options: dict[str, Any], message: list[str]) -> None:
    with pytest.raises(CostError) as refusal:
        step(3, **options)
    assert_one_sentence(refusal.value, message)


def assert_one_sentence(error: Exception, phrases: list[str]) -> None:
    message = str(error)
    assert all(part in message for part in phrases), message
    assert message.endswith(".")
    assert "\n" not in message
    assert "Traceback" not in message
