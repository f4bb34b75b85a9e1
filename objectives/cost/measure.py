"""What one real training step takes, to compare with the figure that was traced for it.

On a CPU what is measured is the live bytes of real tensors, byte for byte what the trace predicts.
On a GPU it is what torch's allocator held at its peak, which rounds each tensor up and keeps the
libraries' workspaces: more than the live bytes, by an amount that this shows.

Entry points: `measure_step`, `MeasuredStep`.
"""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import CostError, describe_error
from ..trace.fake_model import ModelFactory, require_module
from ..trace.trace import record_step
from ..training.step import StepSpec, TensorSpec, make_step_optimizer, training_step
from ..user_code import user_code_location, user_errors


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """What one real training step took.

    Attributes:
        train_memory: Peak bytes: live tensors on a CPU, the allocator's on a GPU.
        seconds: Length of a second step of the same kind, by the wall clock.
        device: Where it ran.
    """

    train_memory: int
    seconds: float
    device: str


def measure_step(build: ModelFactory, step: StepSpec, device: torch.device) -> MeasuredStep:
    """Train a real model for three steps and measure the steady ones.

    Args:
        build: Returns a fresh model.
        step: The batch, loss and optimizer; the batch is zeros, as no cost may depend on values.
        device: Where to train.
    """
    with user_errors(_measuring_error):
        return _measure(build, step, device)


def _measuring_error(error: BaseException) -> CostError:
    return CostError(
        f"a real training step raised {describe_error(error)}{user_code_location(error)}: make the "
        "model, the loss and the optimizer take such a batch, or do not ask for a measurement."
    )


def _measure(build: ModelFactory, step: StepSpec, device: torch.device) -> MeasuredStep:
    model = require_module(build()).to(device)
    inputs = [_zero_batch(spec, step.batch_size, device) for spec in step.inputs]
    targets = None if step.targets is None else _zero_batch(step.targets, step.batch_size, device)

    def run_step() -> None:
        training_step(model, optimizer, step.loss, inputs, targets, step.autocast, step.accumulate)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    if device.type == "cpu":
        peak = record_step(model, step, inputs, targets).timeline().peak
        optimizer = make_step_optimizer(step.optimizer, model)
    else:
        model.train()
        optimizer = make_step_optimizer(step.optimizer, model)
        run_step()
        torch.cuda.reset_peak_memory_stats(device)
        run_step()
        peak = torch.cuda.max_memory_allocated(device)
    started = time.perf_counter()
    run_step()
    return MeasuredStep(
        train_memory=peak, seconds=time.perf_counter() - started, device=str(device)
    )


def _zero_batch(spec: TensorSpec, size: int, device: torch.device) -> Tensor:
    return spec.zeros(size).to(device)
