"""What one real training step takes, to compare with the figure that was traced for it.

On a CPU what is measured are the allocations of torch's allocator, as its profiler reports them:
no dispatch mode is active meanwhile, because torch computes some things otherwise under one. On a
GPU it is what torch's allocator held at its peak, which rounds each tensor up and keeps the
libraries' workspaces.

*Scratch* is what a kernel takes and gives back within one operator; no tensor of the step holds it,
and the traced figure leaves it out.

Entry points: `measure_step`, `MeasuredStep`; `AllocationRecorder` for parts of any real run.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Self, final

import torch
from torch._C._profiler import _EventType, _ExperimentalConfig
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from ..errors import CostError, describe_error
from ..trace.fake_model import ModelFactory, require_module
from ..training.step import (
    StepSpec,
    autocast_context,
    make_step_optimizer,
    training_step,
)
from ..user_code import user_code_location, user_errors


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """What one real training step took.

    Attributes:
        train_memory: Peak bytes that torch's allocator held during a steady step.
        train_memory_without_scratch: The same without what kernels take and give back within one
            operator, which predictions leave out; on a GPU the same figure.
        inference_memory: Peak bytes of a forward pass in eval mode without gradients; None on a
            GPU, where it is not measured.
        inference_memory_without_scratch: The same without kernels' scratch.
        seconds: Length of a further training step, by the wall clock.
        device: Where it ran.
    """

    train_memory: int
    train_memory_without_scratch: int
    inference_memory: int | None
    inference_memory_without_scratch: int | None
    seconds: float
    device: str


@dataclass(frozen=True, kw_only=True)
class AllocatorPeak:
    """The most bytes that the CPU's allocator held.

    Attributes:
        total: With everything.
        without_scratch: Without what was taken and given back within one operator.
    """

    total: int
    without_scratch: int


def measure_step(build: ModelFactory, step: StepSpec, device: torch.device) -> MeasuredStep:
    """Train a real model for three steps and measure the steady ones.

    Args:
        build: Returns a fresh model.
        step: The batch, loss and optimizer; the batch is zeros, as no cost may depend on values.
        device: Where to train.
    """
    measure = _measure_on_cpu if device.type == "cpu" else _measure_on_gpu
    with user_errors(_measuring_error):
        return measure(build, step, device)


def _measuring_error(error: BaseException) -> CostError:
    return CostError(
        f"a real training step raised {describe_error(error)}{user_code_location(error)}: make the "
        "model, the loss and the optimizer take such a batch, or do not ask for a measurement."
    )


def _measure_on_cpu(build: ModelFactory, step: StepSpec, device: torch.device) -> MeasuredStep:
    with AllocationRecorder() as training:
        run_step = _prepare_step(build, step, device)
        run_step()
        with training.part("step"):
            run_step()
    started = time.perf_counter()
    run_step()
    seconds = time.perf_counter() - started
    del run_step
    with AllocationRecorder() as inference:
        model = require_module(build()).eval()
        batch = step.zeros(step.batch_size).without_targets().to(device)

        def run_forward() -> None:
            with torch.no_grad(), autocast_context(step.autocast, batch):
                batch.call(model)

        run_forward()  # lazy layers learn their shapes
        with inference.part("forward"):
            run_forward()
    train_peak, inference_peak = training.peak("step"), inference.peak("forward")
    return MeasuredStep(
        train_memory=train_peak.total,
        train_memory_without_scratch=train_peak.without_scratch,
        inference_memory=inference_peak.total,
        inference_memory_without_scratch=inference_peak.without_scratch,
        seconds=seconds,
        device=str(device),
    )


def _measure_on_gpu(build: ModelFactory, step: StepSpec, device: torch.device) -> MeasuredStep:
    run_step = _prepare_step(build, step, device)
    run_step()
    torch.cuda.reset_peak_memory_stats(device)
    run_step()
    peak = torch.cuda.max_memory_allocated(device)
    started = time.perf_counter()
    run_step()
    return MeasuredStep(
        train_memory=peak,
        train_memory_without_scratch=peak,
        inference_memory=None,
        inference_memory_without_scratch=None,
        seconds=time.perf_counter() - started,
        device=str(device),
    )


def _prepare_step(build: ModelFactory, step: StepSpec, device: torch.device) -> Callable[[], None]:
    """Return a function that trains a new model for one step."""
    model = require_module(build()).to(device).train()
    optimizer = make_step_optimizer(step.optimizer, model, foreach=step.foreach)
    batch = step.zeros(step.batch_size).to(device)

    def run_step() -> None:
        training_step(model, optimizer, step.loss, batch, step.autocast, step.accumulate)
        if optimizer is not None:
            # The next step would drop the gradients first: they are no part of its peak.
            optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run_step


@final
class AllocationRecorder:
    """Records inside `with` what torch's CPU allocator gives out and takes back.

    with AllocationRecorder() as recorder:
        model = build()                 # counts as held by what follows
        with recorder.part("forward"):
            model(x)
    recorder.peak("forward").total
    """

    def __init__(self) -> None:
        # The profiler's library writes a line on each start and stop otherwise; it reads this once.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        self._profile = profile(
            activities=[ProfilerActivity.CPU],
            profile_memory=True,
            experimental_config=_ExperimentalConfig(capture_overload_names=True),
        )

    def __enter__(self) -> Self:
        self._profile.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        self._profile.__exit__(*exception)  # type: ignore[no-untyped-call]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Give a name to what runs inside."""
        with record_function(_PART_PREFIX + name):
            yield

    def peak(self, part: str) -> AllocatorPeak:
        """Return the most bytes held during a part, those from before it included."""
        profiler = self._profile.profiler
        assert profiler is not None
        assert profiler.kineto_results is not None, "the recorder has been left"
        events = profiler.kineto_results.experimental_event_tree()
        live = live_without_scratch = total = without_scratch = 0
        for allocation, is_scratch in _paired(list(_allocations(events, None, None))):
            if allocation.part == part and total == 0:
                total, without_scratch = live, live_without_scratch
            live += allocation.size
            live_without_scratch += 0 if is_scratch else allocation.size
            if allocation.part == part:
                total = max(total, live)
                without_scratch = max(without_scratch, live_without_scratch)
        if total == 0:  # nothing was allocated during the part
            total, without_scratch = live, live_without_scratch
        return AllocatorPeak(total=total, without_scratch=without_scratch)


_PART_PREFIX = "widthwise: "


@dataclass(frozen=True, kw_only=True, slots=True)
class _Allocation:
    """One event of the allocator.

    Attributes:
        size: Bytes given out; negative when taken back.
        address: Where they lie.
        part: Name of the part of the run.
        operator: Which call of an operator it happened within, None between operators.
    """

    size: int
    address: int
    part: str | None
    operator: int | None


def _allocations(
    events: Iterable[Any], part: str | None, operator: int | None
) -> Iterator[_Allocation]:
    """Yield the allocator's events of an event tree, in order of time."""
    for event in events:
        kind, details = event.typed
        if kind == _EventType.Allocation:
            yield _Allocation(
                size=details.alloc_size, address=details.ptr, part=part, operator=operator
            )
        elif event.name.startswith(_PART_PREFIX):
            yield from _allocations(event.children, event.name.removeprefix(_PART_PREFIX), operator)
        else:
            enters = operator is None and _is_kernel(event.name, event.overload_name)
            yield from _allocations(event.children, part, event.id if enters else operator)


@cache
def _is_kernel(name: str, overload: str) -> bool:
    """Return whether an operator has a kernel of its own, and does not only call others."""
    if re.fullmatch(r"\w+::\w+", name) is None:  # a derivative's name, or an optimizer's
        return False
    operator = f"{name}.{overload}" if overload else name
    return torch._C._dispatch_has_kernel(operator) and not (
        torch._C._dispatch_has_kernel_for_dispatch_key(operator, "CompositeImplicitAutograd")
    )


def _paired(allocations: Sequence[_Allocation]) -> Iterator[tuple[_Allocation, bool]]:
    """Yield the events of memory given out meanwhile, and whether one operator gave it back.

    Memory from before, that a garbage collection happens to free, is no part of the recording.
    """
    scratch: set[int] = set()
    foreign: set[int] = set()
    taken: dict[int, int] = {}
    for index, allocation in enumerate(allocations):
        if allocation.size > 0:
            taken[allocation.address] = index
        elif allocation.address not in taken:
            foreign.add(index)
        else:
            taken_at = taken.pop(allocation.address)
            operator = allocation.operator
            if operator is not None and allocations[taken_at].operator == operator:
                scratch.update((taken_at, index))
    for index, allocation in enumerate(allocations):
        if index not in foreign:
            yield allocation, index in scratch
