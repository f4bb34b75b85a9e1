"""Inference latency of a candidate: measured, as it cannot be counted.

    seconds = measure_latency(lambda: build(widths), (TensorSpec(shape=(31,)),), repeats=50)

What is timed is what a caller waits for: one forward pass in eval mode without gradients, on a GPU
until its work is done, the launching of kernels included. The median of the repeats is the figure,
as a busy machine only ever adds time to some of them. (`torch.utils.benchmark.Timer` would run two
passes more before each that it times, and reports the mean of a block rather than single passes.)

Entry point: `measure_latency`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from torch import Tensor, nn

from ..data.streams.batch import Batch
from ..errors import CostError, describe_error
from ..randomness import Randomness
from ..trace.fake_model import ModelFactory, builder_error, require_module
from ..training.step import Specs, StepSpec, autocast_context
from ..user_code import user_code_location, user_errors

Inputs = Sequence[Specs] | Mapping[str, Specs]
"""What a model is called with, as `StepSpec.inputs` has it."""

Clock = Callable[[], float]
"""Seconds since some moment, never going back."""


def measure_latency(
    build: ModelFactory,
    inputs: Inputs,
    *,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    repeats: int = 50,
    warmup: int = 5,
    autocast: torch.dtype | None = None,
    clock: Clock = time.perf_counter,
) -> float:
    """Build a candidate for real and time its forward pass; return the median, in seconds.

    Args:
        build: Returns a fresh model.
        inputs: What the model is called with, see `StepSpec`; random numbers, and 0 for integers.
        batch_size: Samples a pass.
        device: Where to run.
        repeats: Passes to time.
        warmup: Passes before them, in which kernels are chosen and caches filled.
        autocast: Type that torch.autocast computes in; None for no autocast.
        clock: Says what time it is, in seconds.

    Raises:
        ModelError: The builder raised, or returned no module.
        CostError: A number is out of range, or the forward pass fails.
    """
    for name, value, minimum in (
        ("batch size", batch_size, 1),
        ("number of repeats", repeats, 1),
        ("number of warm-up passes", warmup, 0),
    ):
        if value < minimum:
            raise CostError(f"the {name} is {value}: it must be at least {minimum}.")
    device = torch.device(device)
    with Randomness(0, device), torch.no_grad():
        model = _build_model(build).to(device).eval()
        step = StepSpec(inputs=inputs if isinstance(inputs, Mapping) else tuple(inputs))
        batch = step.zeros(batch_size).map(_random).to(device)
        with (
            user_errors(
                lambda error: CostError(
                    f"one forward pass raised {describe_error(error)}{user_code_location(error)}; "
                    "the model must take the inputs whose latency is measured."
                )
            ),
            autocast_context(autocast, batch),
        ):
            seconds = [_time_pass(model, batch, device, clock) for _ in range(warmup + repeats)]
    return median(seconds[warmup:])


def _time_pass(model: nn.Module, batch: Batch, device: torch.device, clock: Clock) -> float:
    _synchronise(device)
    started = clock()
    batch.call(model)
    _synchronise(device)
    return clock() - started


def _synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _build_model(build: ModelFactory) -> nn.Module:
    with user_errors(builder_error):
        return require_module(build())


def _random(zeros: Tensor) -> Tensor:
    return zeros.normal_() if zeros.is_floating_point() else zeros
