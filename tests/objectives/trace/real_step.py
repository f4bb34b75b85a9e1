"""What one real training step holds: the truth that predicted peaks are compared with.

The truth are the events of torch's allocator, as its profiler reports them, while no dispatch mode
is active: under one torch itself computes some things otherwise. What a kernel takes and gives back
within one operator is left out, as it is from predictions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import StepSpec, TensorSpec
from widthwise.objectives.cost.measure import AllocationRecorder, AllocatorPeak
from widthwise.objectives.training.step import training_step

Build = Callable[[], nn.Module]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]

CLASS = TensorSpec(shape=(), dtype=torch.int64)


@contextmanager
def without_encoder_fastpath() -> Iterator[None]:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def real_peaks(build: Build, step: StepSpec, make_optimizer: MakeOptimizer) -> tuple[int, int]:
    """Return the peaks of a second training step and of a forward pass, without scratch."""
    training = real_training_peak(build, step, make_optimizer)
    return training.without_scratch, real_inference_peak(build, step).without_scratch


def real_training_peak(
    build: Build, step: StepSpec, make_optimizer: MakeOptimizer
) -> AllocatorPeak:
    torch.manual_seed(0)
    with AllocationRecorder() as recorder:
        model = build().train()
        optimizer = make_optimizer(model)
        batch = step.zeros(step.batch_size).map(random_like)

        def train() -> None:
            training_step(model, optimizer, step.loss, batch, step.autocast, step.accumulate)
            optimizer.zero_grad(set_to_none=True)

        train()
        with recorder.part("step"):
            train()
    return recorder.peak("step")


def real_inference_peak(build: Build, step: StepSpec) -> AllocatorPeak:
    torch.manual_seed(0)
    with AllocationRecorder() as recorder:
        model = build().eval()
        batch = step.zeros(step.batch_size).without_targets().map(random_like)
        with (
            recorder.part("forward"),
            without_encoder_fastpath(),
            torch.no_grad(),
            precision(step),
        ):
            batch.call(model)
    return recorder.peak("forward")


def precision(step: StepSpec):
    return torch.autocast("cpu", step.autocast) if step.autocast else nullcontext()


def random_like(zeros: Tensor) -> Tensor:
    if zeros.dtype == torch.int64:
        return torch.randint(0, 5, zeros.shape)
    return torch.randn(zeros.shape)


OPTIMIZERS: dict[str, tuple[str | MakeOptimizer, MakeOptimizer]] = {
    "sgd": ("sgd", lambda model: torch.optim.SGD(model.parameters(), lr=0.1)),
    "adamw": ("adamw", lambda model: torch.optim.AdamW(model.parameters())),
}
