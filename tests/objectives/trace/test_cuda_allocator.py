"""The GPU's figure from first principles: rounding, workspace, margin. Nothing here needs a GPU."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.objectives.trace.cuda_allocator import (
    CUBLAS_WORKSPACE,
    CUBLAS_WORKSPACE_HOPPER,
    MARGIN_PERCENT,
    ROUNDING,
    ROUNDING_SLACK,
    allocator_peak,
    cublas_workspace,
)
from widthwise.objectives.trace.live_bytes import LiveBytes


@pytest.mark.parametrize(
    ("capability", "workspace"),
    [
        ((7, 5), 8_519_680),
        ((8, 9), 8_519_680),
        ((9, 0), 33_554_432),
        ((12, 0), 33_554_432),
        (None, 33_554_432),
    ],
    ids=str,
)
def test_the_workspace_of_a_capability(capability: tuple[int, int] | None, workspace: int) -> None:
    assert cublas_workspace(capability) == workspace


def test_the_workspaces_are_what_their_settings_say() -> None:
    assert CUBLAS_WORKSPACE == 1024 * (4096 * 2 + 16 * 8)
    assert CUBLAS_WORKSPACE_HOPPER == 32 * 2**20


def test_the_worked_example() -> None:
    assert allocator_peak(100 * 2**20, (8, 0)) == 124_715_008


@given(st.integers(0, 2**60))
def test_the_margin_is_exact_and_rounded_up(peak: int) -> None:
    share = Fraction(100 + MARGIN_PERCENT, 100)
    expected = ceil((peak + CUBLAS_WORKSPACE_HOPPER) * share)
    assert allocator_peak(peak, None) == expected
    assert allocator_peak(np.array([peak, 0]), None)[0] == expected


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_slack_bounds_the_rounding_of_each_storage(sizes: list[int]) -> None:
    rounded = sum(-(-size // ROUNDING) * ROUNDING for size in sizes)
    recorder = LiveBytes()
    tensors = [torch.empty(size, dtype=torch.uint8) for size in sizes]
    recorder.track(tensors, "batch")
    with recorder:
        pass
    bound = recorder.timeline(ROUNDING_SLACK).peak
    assert rounded <= bound < rounded + ROUNDING * len(sizes)


def step(device_type: str, capability: tuple[int, int] | None = None) -> StepSpec:
    return StepSpec(
        inputs=(TensorSpec(shape=(20,)),),
        batch_size=16,
        optimizer="sgd",
        device_type=device_type,
        capability=capability,
    )


def test_a_forward_pass_worked_by_hand() -> None:
    """Linear(20, 5) on 16 samples: weight, bias, batch and output are alive."""
    costs = count_costs(lambda: nn.Linear(20, 5), step("cuda", (8, 0)))
    live = 20 * 5 * 4 + 5 * 4 + 16 * 20 * 4 + 16 * 5 * 4
    assert costs.inference_memory == allocator_peak(live + 4 * 511, (8, 0))


def test_only_memory_differs_and_its_parts_sum_to_it() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))

    cpu, gpu = count_costs(build, step("cpu")), count_costs(build, step("cuda"))
    assert gpu.flops == cpu.flops
    assert gpu.file_size == cpu.file_size
    assert gpu.train_memory > cpu.train_memory + CUBLAS_WORKSPACE_HOPPER
    assert sum(gpu.train_breakdown.as_dict().values()) == gpu.train_memory
    assert sum(gpu.inference_breakdown.as_dict().values()) == gpu.inference_memory
    assert gpu.train_breakdown.workspace > CUBLAS_WORKSPACE_HOPPER > cpu.train_breakdown.workspace


def test_polynomials_hold_for_the_gpu_too() -> None:
    class Space:
        size = 10**8

        def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
            return rng.integers(2, 10_000, (n, 2))

    def build(widths: dict[str, int]) -> nn.Module:
        return nn.Sequential(nn.Linear(20, widths["a"]), nn.Linear(widths["a"], widths["b"]))

    model = CostModel(build, step("cuda"), "ab")
    model.fit(Space())
    assert model.counted_by == "polynomial"
    evaluated = model.evaluate(np.array([[17, 4_000], [999, 3]]))
    for index, (a, b) in enumerate([(17, 4_000), (999, 3)]):
        traced = count_costs(lambda a=a, b=b: build({"a": a, "b": b}), step("cuda"))
        assert {name: int(values[index]) for name, values in evaluated.items()} == traced.as_dict()
