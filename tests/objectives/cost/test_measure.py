"""A real training step holds, on a CPU, exactly what was predicted for it."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.measure import AllocationRecorder, measure_step
from widthwise.objectives.data.streams.batch import Batch, read_batch
from widthwise.objectives.training.step import batch_specs, make_step_optimizer, training_step

CPU = torch.device("cpu")


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64), nn.LayerNorm(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 5)
    )


@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_measured_peak_is_the_predicted_one(
    autocast: torch.dtype | None, accumulate: int
) -> None:
    step = StepSpec(
        inputs=(TensorSpec(shape=(20,)),),
        targets=TensorSpec(shape=(), dtype=torch.int64),
        batch_size=32,
        optimizer="sgd",
        loss=nn.functional.cross_entropy,
        autocast=autocast,
        accumulate=accumulate,
    )
    measured = measure_step(mlp, step, CPU)
    costs = count_costs(mlp, step)
    assert measured.train_memory_without_scratch == costs.train_memory
    assert measured.inference_memory_without_scratch == costs.inference_memory
    assert measured.train_memory >= measured.train_memory_without_scratch
    assert measured.seconds > 0
    assert measured.device == "cpu"


class OwnLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.layer(x), labels)


def test_labels_that_go_into_the_forward_are_held_once() -> None:
    """As a loader gives them: a mask of whole numbers is twice as large as its image."""

    def read() -> Batch:
        labels = torch.zeros(8, 16, 16, dtype=torch.int64)
        return read_batch({"x": torch.zeros(8, 1, 16, 16), "labels": labels}, model_loss=True)

    step = StepSpec(
        **batch_specs(read()), batch_size=8, optimizer="sgd", loss=lambda output, _: output
    )
    with AllocationRecorder() as recorder:
        model, batch = OwnLoss().train(), read()
        optimizer = make_step_optimizer("sgd", model)
        training_step(model, optimizer, step.loss, batch)
        assert optimizer is not None
        optimizer.zero_grad(set_to_none=True)
        with recorder.part("step"):
            training_step(model, optimizer, step.loss, batch)
    held = recorder.peak("step").without_scratch
    assert count_costs(OwnLoss, step).train_memory == held
    assert measure_step(OwnLoss, step, CPU).train_memory_without_scratch == held


def test_what_the_allocator_held_is_known_by_part() -> None:
    with AllocationRecorder() as recorder:
        kept = torch.zeros(1_000)
        with recorder.part("one"):
            torch.zeros(500)
            torch.zeros(300)
        with recorder.part("nothing"):
            pass
        with recorder.part("two"):
            del kept
            torch.zeros(700)
    assert recorder.peak("one").total == 4_000 + 2_000
    assert recorder.peak("two").total == 4_000
    assert recorder.peak("one").without_scratch == 6_000


def test_what_an_operator_gives_back_itself_is_scratch() -> None:
    """A sort copies its input and the positions within its kernel."""
    x = torch.rand(1_000)
    with AllocationRecorder() as recorder, recorder.part("sort"):
        x.sort()
    peak = recorder.peak("sort")
    assert peak.without_scratch == 4_000 + 8_000  # sorted values and their positions
    assert peak.total > peak.without_scratch


def test_memory_from_before_is_no_part_of_it() -> None:
    with AllocationRecorder():
        before = torch.zeros(1_000)
    with AllocationRecorder() as recorder, recorder.part("step"):
        del before
        torch.zeros(10)
    assert recorder.peak("step").total == 40


def test_no_dispatch_mode_is_active_while_a_step_is_measured() -> None:
    """Five consumers of one tensor: under a mode their gradients would be added out of place."""
    modes: list[int] = []

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Linear(16, 64)
            self.heads = nn.ModuleList(nn.Linear(64, 2) for _ in range(5))

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            modes.append(torch._C._len_torch_dispatch_stack())
            x = self.trunk(x).relu()
            return [head(x) for head in self.heads]

    measured = measure_step(Heads, StepSpec(inputs=(TensorSpec(shape=(16,)),), batch_size=256), CPU)
    assert set(modes) == {0}
    assert measured.train_memory_without_scratch == 243_136


def test_lazy_layers_are_measured_as_they_are_in_the_end() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(32), nn.ReLU(), nn.LazyLinear(3))

    step = StepSpec(inputs=(TensorSpec(shape=(16,)),), batch_size=64)
    costs, measured = count_costs(build, step), measure_step(build, step, CPU)
    assert measured.train_memory_without_scratch == costs.train_memory
    assert measured.inference_memory_without_scratch == costs.inference_memory


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_temporaries_of_all_parameters_at_once_are_predicted(optimizer: str) -> None:
    def build() -> nn.Module:
        return nn.Sequential(*(nn.Linear(100, 100) for _ in range(4)))

    step = StepSpec(
        inputs=(TensorSpec(shape=(100,)),), batch_size=2, optimizer=optimizer, foreach=True
    )
    predicted = count_costs(build, step).train_memory
    assert measure_step(build, step, CPU).train_memory_without_scratch == predicted
    if optimizer != "sgd":
        one_by_one = count_costs(build, replace(step, foreach=False)).train_memory
        assert predicted > one_by_one + 2 * 4 * 100 * 100


class Blocks(nn.Module):
    """Layers whose activations are computed again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Dropout(0.1), nn.Linear(128, 32))
            for _ in range(3)
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            inputs = inputs + checkpoint(layer, inputs, use_reentrant=False)
        return inputs


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_checkpointed_and_accumulated_steps_are_predicted(
    autocast: torch.dtype | None, accumulate: int
) -> None:
    step = StepSpec(
        inputs=(TensorSpec(shape=(32,)),), batch_size=64, autocast=autocast, accumulate=accumulate
    )
    predicted = count_costs(Blocks, step).train_memory
    measured = measure_step(Blocks, step, CPU).train_memory_without_scratch
    assert predicted == pytest.approx(measured, rel=0.001)


def test_on_a_gpu_the_peak_of_its_allocator_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed for it: tensors without memory stand in for those of one."""
    calls: list[str] = []
    meta = torch.device("meta")
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: calls.append(f"reset {device}")
    )

    def peak(device: torch.device) -> int:
        calls.append(f"peak {device}")
        return 123_456

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", peak)
    step = StepSpec(inputs=(TensorSpec(shape=(20,)),), batch_size=4)
    measured = measure_step(mlp, step, meta)
    assert measured.train_memory == measured.train_memory_without_scratch == 123_456
    assert measured.inference_memory is None
    assert calls == ["reset meta", "peak meta"]
