"""Predicted peaks against the live bytes of real tensors in a real training step, to the byte."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import Costs, StepSpec, TensorSpec, count_costs
from widthwise.objectives.trace.live_bytes import LiveBytes
from widthwise.tests.objectives.trace.real_step import (
    CLASS,
    OPTIMIZERS,
    Build,
    MakeOptimizer,
    real_peaks,
)


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 5)
    )


def layer_norm_and_dropout() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64), nn.LayerNorm(64), nn.SiLU(), nn.Dropout(0.2), nn.Linear(64, 5)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


class Encoder(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean(1))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.hidden = nn.Linear(16, 16)
        self.out = nn.Linear(16, 50, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(self.embedding(x)).relu()).transpose(1, 2)


MODELS: dict[str, tuple[Build, TensorSpec, TensorSpec]] = {
    "mlp": (mlp, TensorSpec(shape=(20,)), CLASS),
    "layer norm and dropout": (layer_norm_and_dropout, TensorSpec(shape=(20,)), CLASS),
    "cnn with batch norm": (cnn, TensorSpec(shape=(1, 12, 12)), CLASS),
    "encoder": (lambda: Encoder(0.0), TensorSpec(shape=(6, 32)), CLASS),
    "encoder with dropout": (lambda: Encoder(0.1), TensorSpec(shape=(6, 32)), CLASS),
    "tied embedding": (
        Tied,
        TensorSpec(shape=(7,), dtype=torch.int64),
        TensorSpec(shape=(7,), dtype=torch.int64),
    ),
}


def fused(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), fused=True)


def momentum(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def spec(name: str, batch_size: int, optimizer: str | MakeOptimizer) -> tuple[Build, StepSpec]:
    build, inputs, targets = MODELS[name]
    return build, StepSpec(
        inputs=(inputs,),
        targets=targets,
        batch_size=batch_size,
        optimizer=optimizer,
        loss=nn.functional.cross_entropy,
    )


@pytest.mark.parametrize("batch_size", [8, 32])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_peaks_equal_the_live_bytes_of_real_tensors(
    model: str, optimizer: str, batch_size: int
) -> None:
    predicted, real = OPTIMIZERS[optimizer]
    build, step = spec(model, batch_size, predicted)
    costs = count_costs(build, step)
    assert (costs.train_memory, costs.inference_memory) == real_peaks(build, step, real)


@pytest.mark.parametrize("optimizer", [fused, momentum], ids=["fused adamw", "momentum"])
def test_the_optimizer_really_used_is_the_one_counted(optimizer: MakeOptimizer) -> None:
    build, step = spec("mlp", 8, optimizer)
    assert count_costs(build, step).train_memory == real_peaks(build, step, optimizer)[0]


@pytest.mark.parametrize("accumulate", [2, 5], ids=["even", "uneven"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["mlp", "layer norm and dropout", "encoder"])
def test_parts_of_a_batch_take_the_memory_that_is_predicted(
    model: str, autocast: torch.dtype | None, accumulate: int
) -> None:
    build, step = spec(model, 16, fused)
    step = replace(step, autocast=autocast, accumulate=accumulate)
    assert count_costs(build, step).train_memory == real_peaks(build, step, fused)[0]


@pytest.mark.parametrize("model", ["mlp", "layer norm and dropout"])
def test_parts_of_a_large_batch_take_less_memory(model: str) -> None:
    """Of a small one they may take more: gradients are there while the next part passes."""
    build, step = spec(model, 256, fused)
    peaks = [
        count_costs(build, replace(step, accumulate=parts)).train_memory for parts in (1, 2, 8)
    ]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[2] < peaks[0] / 2


def test_the_parts_of_a_linear_layers_step() -> None:
    """Worked by hand: Linear(64, 32) on 64 samples; the peak is AdamW's update of the weight.

    Alive are weight, bias, both gradients, two moments and a step counter for each, the batch, the
    loss, the two temporaries of the update, and the number that divides one of them.
    """
    weight, bias, batch = 64 * 32 * 4, 32 * 4, 64 * 64 * 4
    costs = count_costs(
        lambda: nn.Linear(64, 32), StepSpec(inputs=(TensorSpec(shape=(64,)),), batch_size=64)
    )
    assert costs.train_breakdown.as_dict() == {
        "parameters": weight + bias,
        "buffers": 0,
        "gradients": weight + bias,
        "optimizer": 2 * (weight + bias) + 2 * 4,
        "batch": batch,
        "activations": 4 + 2 * weight + 8,
        "workspace": 0,
    }
    assert costs.inference_memory == weight + bias + batch + 64 * 32 * 4
    assert costs.largest_tensor == batch


@pytest.mark.parametrize("model", MODELS)
def test_the_parts_sum_to_the_peak(model: str) -> None:
    build, step = spec(model, 8, "adamw")
    costs: Costs = count_costs(build, step)
    assert sum(costs.train_breakdown.as_dict().values()) == costs.train_memory
    assert sum(costs.inference_breakdown.as_dict().values()) == costs.inference_memory
    assert costs.train_breakdown.parameters == 4 * costs.parameters
    assert 0 < costs.largest_tensor < costs.train_memory


def test_views_count_once_and_releases_count() -> None:
    recorder = LiveBytes()
    held = torch.zeros(10)
    recorder.track([held, held.view(2, 5)], "batch")
    with recorder:
        first = held + held
        second = first[2:]
        del first
        third = torch.zeros(100)
        del second, third
        torch.zeros(5)
    timeline = recorder.timeline()
    assert timeline.live == (40, 80, 480, 60)
    assert timeline.breakdown.batch == 40
    assert timeline.breakdown.activations == 440
    assert timeline.largest_tensor == 400


def test_a_tensor_resized_in_place_counts_its_new_size() -> None:
    recorder = LiveBytes()
    tensor = torch.zeros(4)
    recorder.track([tensor], "batch")
    with recorder:
        tensor.resize_(10)
    assert recorder.timeline().peak == 40


def test_a_sparse_gradient_is_counted_by_its_entries() -> None:
    table = 5000 * 4 * 4
    step = StepSpec(
        inputs=(TensorSpec(shape=(3,), dtype=torch.int64),), batch_size=8, optimizer="sgd"
    )
    sparse = count_costs(lambda: nn.Embedding(5000, 4, sparse=True), step)
    dense = count_costs(lambda: nn.Embedding(5000, 4), step)
    entries = 8 * 3 * (8 + 4 * 4)  # an index and a row each
    assert table + entries < sparse.train_memory < table + 3 * entries
    assert dense.train_memory > 2 * table


def test_each_storage_may_take_more_than_its_bytes() -> None:
    recorder = LiveBytes()
    recorder.track([torch.zeros(10)], "batch")
    with recorder:
        first = torch.zeros(3)
        second = torch.empty(0)
        third = torch.zeros(4)
    del first, second, third
    timeline = recorder.timeline(slack=100)
    assert timeline.live == (0, 112, 228)
    assert timeline.breakdown.workspace == 200
