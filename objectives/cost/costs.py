"""Costs of one candidate, known before it is trained: parameters, FLOPs, peak memory.

    costs = count_costs(lambda: build(widths), step)
    costs.parameters, costs.flops, costs.train_memory

FLOPs = 2 × MACs. MACs and FLOPs are per sample: the batch's figure divided by the batch size. Work
that does not depend on the batch (weights made by a network, say) is shared out among the samples;
where that leaves a fraction it is rounded up, so that a limit is never broken by rounding.

Memory is the peak of live bytes of all tensors (see `trace.live_bytes`), exact to the byte for a
step in fp32 on the CPU as `step.training_step` does it; for a GPU it is an estimate from above of
what torch's allocator holds (see `trace.cuda_allocator`). The data set, where it lies on the device
as a whole, is not part of a step's peak: only the mini-batch is.

Entry points: `count_costs`, `Costs`; `model.CostModel` for many candidates at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, make_dataclass, replace
from typing import Any

from torch import nn

from ..trace.live_bytes import Breakdown, Timeline
from ..trace.trace import Trace, trace
from ..training.step import StepSpec, TensorSpec
from .registry import FIELDS, QUANTITIES, derive_costs

__all__ = ["FIELDS", "Costs", "StepSpec", "TensorSpec", "count_costs"]

_Figures: Any = make_dataclass(
    "_Figures", [(name, int) for name in FIELDS], frozen=True, kw_only=True
)
"""One whole number for each counted cost of the registry."""


@dataclass(frozen=True, kw_only=True)
class Costs(_Figures):  # type: ignore[misc]  # its fields are those of the registry
    """What one candidate costs: an attribute for each counted cost of `registry.COSTS`.

    Attributes:
        train_breakdown: The parts of train_memory.
        inference_breakdown: The parts of inference_memory.
        largest_tensor: Bytes of the largest single tensor of the training step.
        lower_bound: Whether train_memory leaves out what only a real run can show.
        uncounted: Operations that count 0 FLOPs for want of a formula; where there are some, macs,
            flops and step_flops are lower bounds, and no limit on them should be taken as kept.
        notes: Sentences on what to know about these figures.
    """

    train_breakdown: Breakdown
    inference_breakdown: Breakdown
    largest_tensor: int
    lower_bound: bool = False
    uncounted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, int]:
        """Return the costs by name, in the order of the registry."""
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
    quantities = {quantity.name: max(quantity.read(traced)) for quantity in QUANTITIES}
    figures = derive_costs(quantities, step)
    return Costs(
        **figures,
        train_breakdown=_device_breakdown(traced.training, figures["train_memory"]),
        inference_breakdown=_device_breakdown(traced.inference, figures["inference_memory"]),
        largest_tensor=traced.training.largest_tensor,
        lower_bound=traced.lower_bound,
        uncounted=traced.uncounted,
        notes=traced.notes,
    )


def _device_breakdown(timeline: Timeline, device_peak: int) -> Breakdown:
    """Return the parts of a peak; what the device holds beyond live bytes is workspace."""
    workspace = timeline.breakdown.workspace + device_peak - timeline.peak
    return replace(timeline.breakdown, workspace=workspace)
