"""Costs of one candidate, known before it is trained: parameters, FLOPs, peak memory.

    costs = count_costs(lambda: build(widths), step)
    costs.parameters, costs.flops, costs.train_memory

FLOPs = 2 × MACs. MACs and FLOPs are per sample: the batch's figure divided by the batch size. Work
that does not depend on the batch (weights made by a network, say) is shared out among the samples;
where that leaves a fraction it is rounded up, so that a limit is never broken by rounding.

Memory is the peak of live bytes of all tensors (see `memory`), exact to the byte for a step in
fp32 on the CPU as `step.training_step` does it; for a GPU it is an estimate from above of what
torch's allocator holds (see `cuda`). The data set, where it lies on the device as a whole, is not
part of a step's peak: only the mini-batch is.

Entry points: `count_costs`, `Costs`; `costmodel.CostModel` for many candidates at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from ..trace.cuda_allocator import allocator_peak
from ..trace.live_bytes import Breakdown, Timeline
from ..trace.trace import Trace, trace
from ..training.step import StepSpec, TensorSpec

__all__ = ["FIELDS", "Costs", "StepSpec", "TensorSpec", "count_costs"]

FIELDS = (
    "parameters",
    "trainable_parameters",
    "macs",
    "flops",
    "step_flops",
    "train_memory",
    "inference_memory",
    "file_size",
)
"""The costs that can be limited, in the order they are shown."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What one candidate costs.

    Attributes:
        parameters: Elements of all parameters, tied ones once.
        trainable_parameters: Those that require a gradient.
        macs: Multiply-adds of one forward pass, per sample.
        flops: 2 × macs.
        step_flops: FLOPs of forward and backward pass, per sample.
        train_memory: Peak live bytes of a steady training step: parameters, gradients, optimizer
            state, buffers, activations and the mini-batch.
        inference_memory: Peak live bytes of a forward pass in eval mode without gradients, at the
            same batch size.
        file_size: Bytes of the model's file: parameters and persistent buffers as `state_dict`
            holds them, each storage once, so tied tensors count once. The container around them
            (names, shapes: some 100 bytes a tensor) is not included.
        train_breakdown: The parts of train_memory.
        inference_breakdown: The parts of inference_memory.
        largest_tensor: Bytes of the largest single tensor of the training step.
        lower_bound: Whether train_memory leaves out what only a real run can show.
        uncounted: Operations that count 0 FLOPs for want of a formula; where there are some, macs,
            flops and step_flops are lower bounds, and no limit on them should be taken as kept.
        notes: Sentences on what to know about these figures.
    """

    parameters: int
    trainable_parameters: int
    macs: int
    flops: int
    step_flops: int
    train_memory: int
    inference_memory: int
    file_size: int
    train_breakdown: Breakdown
    inference_breakdown: Breakdown
    largest_tensor: int
    lower_bound: bool = False
    uncounted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, int]:
        """Return the costs that can be limited, by name."""
        return {name: getattr(self, name) for name in FIELDS}


def count_costs(build: Callable[[], nn.Module], step: StepSpec) -> Costs:
    """Count one candidate without allocating it.

    Args:
        build: Returns a fresh model; called under fake tensors.
        step: The example batch, loss and optimizer.

    Raises:
        ModelError: The builder raised, or returned no module.
        CostError: The costs depend on data, or the step fails.
    """
    return costs_from_trace(trace(build, step), step)


def costs_from_trace(traced: Trace, step: StepSpec) -> Costs:
    """Return the costs of a candidate traced on a step."""
    macs = per_sample(traced.flops, step.batch_size)
    train_memory, train_breakdown = _device_memory(traced.training, step)
    inference_memory, inference_breakdown = _device_memory(traced.inference, step)
    return Costs(
        parameters=traced.parameters,
        trainable_parameters=traced.trainable_parameters,
        macs=macs,
        flops=2 * macs,
        step_flops=2 * per_sample(traced.step_flops, step.batch_size),
        train_memory=train_memory,
        inference_memory=inference_memory,
        file_size=traced.file_size,
        train_breakdown=train_breakdown,
        inference_breakdown=inference_breakdown,
        largest_tensor=traced.training.largest_tensor,
        lower_bound=traced.lower_bound,
        uncounted=traced.uncounted,
        notes=traced.notes,
    )


def _device_memory(timeline: Timeline, step: StepSpec) -> tuple[int, Breakdown]:
    """Return the peak on the device of the step, and its parts."""
    if step.device_type == "cpu":
        return timeline.peak, timeline.breakdown
    peak = allocator_peak(timeline.peak, step.capability)
    added = timeline.breakdown.workspace + peak - timeline.peak
    return peak, replace(timeline.breakdown, workspace=added)


def per_sample(batch_flops: int, batch_size: int) -> int:
    """Return MACs per sample of the FLOPs of a batch, rounded up.

    macs = ceil(FLOPs / 2 / batch size), as FLOPs = 2 × MACs. Worked example: 64 samples through
    `nn.Linear(64, 32)`: 262,144 / 2 / 64 = 2,048.
    """
    return -(-batch_flops // (2 * batch_size))
