"""Predicted peaks against the live bytes of real tensors in a real training step, to the byte.

The truth is measured by `RealBytes`, which shares nothing with the recorder under test: it keeps
weak references to real storages and asks after every operator which of them are still alive.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from widthwise.objectives.cost import Costs, StepSpec, TensorSpec, count_costs
from widthwise.objectives.memory import LiveBytes

Build = Callable[[], nn.Module]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]

CLASS = TensorSpec(shape=(), dtype=torch.int64)


class RealBytes(TorchDispatchMode):
    """Watches real storages; `peak` is the most bytes alive after any operator."""

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        for tensor in held:
            self.watch(tensor)
        self.look()

    def watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        self.storages[reference.cdata] = (reference, storage.nbytes())

    def look(self) -> None:
        self.storages = {k: v for k, v in self.storages.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.watch(leaf)
        self.look()
        return result


@contextmanager
def plain_encoder() -> Iterator[None]:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def real_peaks(build: Build, step: StepSpec, make_optimizer: MakeOptimizer) -> tuple[int, int]:
    """Train two real steps and run one forward pass; return the peaks of the second and third."""
    torch.manual_seed(0)
    model = build()
    optimizer = make_optimizer(model)
    inputs = [sample(spec, step.batch_size) for spec in step.inputs]
    targets = sample(step.targets, step.batch_size)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = step.loss(model(*inputs), targets)
        loss.backward()
        optimizer.step()

    train()
    optimizer.zero_grad(set_to_none=True)
    state = [
        value
        for slots in optimizer.state.values()
        for value in slots.values()
        if isinstance(value, Tensor)
    ]
    held = [*model.parameters(), *model.buffers()]
    with RealBytes([*held, *state, *inputs, targets]) as training:
        train()
    optimizer.zero_grad(set_to_none=True)
    model.eval()
    with plain_encoder(), torch.no_grad(), RealBytes([*held, *inputs]) as inference:
        model(*inputs)
    return training.peak, inference.peak


def sample(spec: TensorSpec, size: int) -> Tensor:
    shape = (size, *spec.shape)
    return torch.randint(0, 5, shape) if spec.dtype == torch.int64 else torch.randn(shape)


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


class Recurrent(nn.Module):
    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = layer(8, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


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
    "gru": (lambda: Recurrent(nn.GRU), TensorSpec(shape=(5, 8)), CLASS),
}

OPTIMIZERS: dict[str, tuple[str | MakeOptimizer, MakeOptimizer]] = {
    "sgd": ("sgd", lambda model: torch.optim.SGD(model.parameters(), lr=0.1)),
    "adamw": ("adamw", lambda model: torch.optim.AdamW(model.parameters())),
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


def test_a_fused_recurrent_layer_is_marked_as_a_lower_bound() -> None:
    build, step = lambda: Recurrent(nn.LSTM), spec("gru", 8, "adamw")[1]
    costs = count_costs(build, step)
    assert costs.lower_bound
    assert any("lower bound" in note for note in costs.notes)
    training, inference = real_peaks(build, step, OPTIMIZERS["adamw"][1])
    assert costs.train_memory < training
    assert costs.inference_memory == inference


def test_the_parts_of_a_linear_layers_step() -> None:
    """Worked by hand: Linear(64, 32) on 64 samples; the peak is AdamW's update of the weight.

    Alive are weight, bias, both gradients, two moments and a step counter for each, the batch, the
    loss, and the two temporaries of the update.
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
        "activations": 4 + 2 * weight,
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
    recorder.hold([held, held.view(2, 5)], "batch")
    with recorder:
        first = held + 1
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
    recorder.hold([tensor], "batch")
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
