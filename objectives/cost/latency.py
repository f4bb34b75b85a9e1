"""Inference latency of a candidate: measured, as it cannot be counted.

    latency = measure_latency(lambda: build(widths), (TensorSpec(shape=(31,)),), repeats=50)
    latency.median_seconds

What is timed is what a caller waits for: one forward pass in eval mode without gradients, on a GPU
until its work is done, the launching of kernels included. The median of the repeats is the figure,
as a busy machine only ever adds time to some of them.

Entry points: `measure_latency`, `Latency`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import torch
from torch import Tensor, nn

from ..errors import CostError, ModelError, ObjectiveError
from ..randomness import Randomness
from ..trace.fake_model import ModelFactory
from ..training.step import TensorSpec, autocast_context
from ..user_code import first_line, user_code_location

Clock = Callable[[], float]
"""Seconds since some moment, never going back."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long one forward pass takes; seconds a batch.

    Attributes:
        median_seconds: The middle of all repeats.
        fastest_seconds: The shortest.
        slowest_seconds: The longest.
        spread_seconds: Distance of the quartiles; half of the repeats lie within it.
        repeats: Passes that were timed.
        batch_size: Samples a pass.
        device: Where it ran.
        threads: Threads that torch used on the CPU.
    """

    median_seconds: float
    fastest_seconds: float
    slowest_seconds: float
    spread_seconds: float
    repeats: int
    batch_size: int
    device: str
    threads: int


def measure_latency(
    build: ModelFactory,
    inputs: Sequence[TensorSpec],
    *,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    repeats: int = 50,
    warmup: int = 5,
    autocast: torch.dtype | None = None,
    clock: Clock = time.perf_counter,
) -> Latency:
    """Build a candidate for real and time its forward pass.

    Args:
        build: Returns a fresh model.
        inputs: What the model is called with; random numbers, and 0 for integers.
        batch_size: Samples a pass.
        device: Where to run.
        repeats: Passes to time.
        warmup: Passes before them, in which kernels are chosen and caches filled.
        autocast: Type that torch.autocast computes in; None for no autocast.
        clock: Tells the seconds.

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
        batch = [_random_batch(spec, batch_size).to(device) for spec in inputs]
        try:
            with autocast_context(autocast, batch):
                seconds = [
                    _time_pass(model, batch, device, clock) for _ in range(warmup + repeats)
                ][warmup:]
        except Exception as error:
            raise CostError(
                f"one forward pass raised {type(error).__name__}: {first_line(error)}"
                f"{user_code_location(error)}; the model must take the inputs whose latency is measured."
            ) from error
    lower, _, upper = quantiles(seconds, n=4, method="inclusive") if repeats > 1 else seconds * 3
    return Latency(
        median_seconds=median(seconds),
        fastest_seconds=min(seconds),
        slowest_seconds=max(seconds),
        spread_seconds=upper - lower,
        repeats=repeats,
        batch_size=batch_size,
        device=str(device),
        threads=torch.get_num_threads(),
    )


def _time_pass(
    model: nn.Module, batch: Sequence[Tensor], device: torch.device, clock: Clock
) -> float:
    _synchronise(device)
    started = clock()
    model(*batch)
    _synchronise(device)
    return clock() - started


def _synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _build_model(build: ModelFactory) -> nn.Module:
    try:
        model: object = build()
    except ObjectiveError:
        raise
    except Exception as error:
        raise ModelError(
            f"the builder raised {type(error).__name__}: {first_line(error)}{user_code_location(error)}; it "
            "must return a torch.nn.Module for every candidate of the space."
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"the builder returned a {type(model).__name__}, expected a torch.nn.Module: return "
            "the model itself."
        )
    return model


def _random_batch(spec: TensorSpec, size: int) -> Tensor:
    batch = spec.zeros(size)
    return batch.normal_() if spec.dtype.is_floating_point else batch
