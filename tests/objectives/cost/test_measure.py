"""A real training step holds, on a CPU, exactly what was predicted for it."""

import pytest
import torch
from torch import nn
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.measure import measure_step

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
    assert measured.train_memory == count_costs(mlp, step).train_memory
    assert measured.seconds > 0
    assert measured.device == "cpu"
