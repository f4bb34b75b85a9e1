"""The kinds of cost: one entry each, from which everything that names a cost derives.

A new cost is one entry of `COSTS`. It says how the figure is read from a trace and derived for one
sample or device, in which unit it is, what it is called, and whether a spec may limit it; counting,
fitting, storing, limits, options of the command line and tables follow from that.

    derive_costs({"flops": 262_144, …}, step)["macs"]      # numbers of one candidate, or arrays [n]

This module imports neither torch nor numpy: the command line has an option for some costs, and
not every command needs more.

Entry points: `COSTS`, `Cost`, `Unit`, `derive_costs`; `COUNTED_COSTS`, `LIMITABLE_COSTS` and
`QUANTITIES` derive from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..trace.cuda_allocator import BytesT as CountT
    from ..trace.trace import Trace
    from ..training.step import StepSpec

MAX_COST = 2**63 - 1
"""Largest cost that can be stored: a 64-bit integer."""


class Unit(StrEnum):
    """What a cost is counted in; the word for people."""

    PARAMETERS = "parameters"
    MACS = "MACs"
    FLOPS = "FLOPs"
    BYTES = "bytes"
    SECONDS = "s"


class Derivation(Protocol):
    """How a cost follows from a quantity of the whole batch."""

    def __call__(self, quantity: CountT, step: StepSpec, /) -> CountT:
        """Return the cost of one candidate, or the costs of many as an array [n]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A figure of the whole batch that is read from a trace; costs may share one.

    Attributes:
        name: Its name in stored fits.
        read: Returns numbers whose maximum is the quantity: itself, or a memory's timeline.
    """

    name: str
    read: Callable[[Trace], tuple[int, ...]]


def as_traced(quantity: CountT, _step: StepSpec) -> CountT:
    """Return a quantity that is a cost as it is."""
    return quantity


def macs_per_sample(batch_flops: CountT, step: StepSpec) -> CountT:
    """Return MACs per sample of the FLOPs of a batch, rounded up.

    macs = ceil(FLOPs / 2 / batch size), as FLOPs = 2 × MACs. Worked example: 64 samples through
    `nn.Linear(64, 32)`: 262,144 / 2 / 64 = 2,048.
    """
    return -(-batch_flops // (2 * step.batch_size))


def flops_per_sample(batch_flops: CountT, step: StepSpec) -> CountT:
    """Return FLOPs per sample of those of a batch: 2 × MACs, so rounded up to an even number."""
    return 2 * macs_per_sample(batch_flops, step)


def device_memory(live_bytes: CountT, step: StepSpec) -> CountT:
    """Return the peak on the step's device: live bytes, or what a GPU's allocator holds of them."""
    if step.device_type == "cpu":
        return live_bytes
    from ..trace.cuda_allocator import allocator_peak

    return allocator_peak(live_bytes, step.capability)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One kind of cost.

    Attributes:
        name: Its key in specs, JSON and the database.
        unit: What it is counted in.
        title: What it is called in tables and sentences.
        description: What is counted, where the title does not say it in full.
        quantity: What is read from a trace; None for a cost that is measured on the device.
        derive: How the cost follows from the quantity.
        limit_rank: Its rank among the keys of a spec's `[limits]`; None where it has no limit.
        option_help: Help of `--max-NAME` on the command line; None where there is no such option.
        in_every_table: Whether tables show it though no limit names it.
        every_digit: Whether people see every digit of it, rather than three and a prefix.
    """

    name: str
    unit: Unit
    title: str
    description: str = ""
    quantity: Quantity | None
    derive: Derivation = as_traced
    limit_rank: int | None = None
    option_help: str | None = None
    in_every_table: bool = False
    every_digit: bool = False

    @property
    def definition(self) -> str:
        """What is counted: the description, or the title where that says it."""
        return self.description or self.title


_FORWARD_FLOPS = Quantity(name="flops", read=lambda trace: (trace.flops,))

COSTS = (
    # Elements of all parameters, tied ones once.
    Cost(
        name="parameters",
        unit=Unit.PARAMETERS,
        title="parameters",
        quantity=Quantity(name="parameters", read=lambda trace: (trace.parameters,)),
        limit_rank=2,
        option_help='Limit: "200k".',
        in_every_table=True,
        every_digit=True,
    ),
    # Those that require a gradient.
    Cost(
        name="trainable_parameters",
        unit=Unit.PARAMETERS,
        title="trainable parameters",
        quantity=Quantity(
            name="trainable_parameters", read=lambda trace: (trace.trainable_parameters,)
        ),
    ),
    # Multiply-adds of one forward pass, per sample.
    Cost(
        name="macs",
        unit=Unit.MACS,
        title="MACs",
        description="MACs, forward per sample",
        quantity=_FORWARD_FLOPS,
        derive=macs_per_sample,
        limit_rank=1,
    ),
    Cost(
        name="flops",
        unit=Unit.FLOPS,
        title="FLOPs",
        description="FLOPs (2 × MACs), forward per sample",
        quantity=_FORWARD_FLOPS,
        derive=flops_per_sample,
        limit_rank=0,
        option_help='Limit, forward per sample (= 2 × MACs): "2M".',
        in_every_table=True,
    ),
    # FLOPs of forward and backward pass, per sample.
    Cost(
        name="step_flops",
        unit=Unit.FLOPS,
        title="step FLOPs",
        description="FLOPs of a training step, per sample",
        quantity=Quantity(name="step_flops", read=lambda trace: (trace.step_flops,)),
        derive=flops_per_sample,
    ),
    # Peak live bytes of a steady training step: parameters, gradients, optimizer state, buffers,
    # activations and the mini-batch.
    Cost(
        name="train_memory",
        unit=Unit.BYTES,
        title="training memory",
        quantity=Quantity(name="train_memory", read=lambda trace: trace.training.live),
        derive=device_memory,
        limit_rank=3,
        option_help='Limit, peak of a training step: "64 MiB".',
        in_every_table=True,
    ),
    # Peak live bytes of a forward pass in eval mode without gradients, at the same batch size.
    Cost(
        name="inference_memory",
        unit=Unit.BYTES,
        title="inference memory",
        quantity=Quantity(name="inference_memory", read=lambda trace: trace.inference.live),
        derive=device_memory,
        limit_rank=4,
    ),
    # Bytes of the model's file: parameters and persistent buffers as `state_dict` holds them, each
    # storage once. The container around them (names, shapes: some 100 bytes a tensor) is left out.
    Cost(
        name="file_size",
        unit=Unit.BYTES,
        title="file size",
        description="file size, tensors only",
        quantity=Quantity(name="file_size", read=lambda trace: (trace.file_size,)),
        limit_rank=5,
    ),
    # Seconds of one sample's inference, measured on the worker's device before a training.
    Cost(
        name="latency",
        unit=Unit.SECONDS,
        title="latency",
        quantity=None,
        limit_rank=6,
    ),
)
"""All costs, in the order of tables and JSON."""

COUNTED_COSTS = tuple(cost for cost in COSTS if cost.quantity is not None)
"""The costs that are counted exactly from a trace."""

FIELDS = tuple(cost.name for cost in COUNTED_COSTS)
"""Names of the counted costs, in the order of tables and JSON."""

LIMITABLE_COSTS = tuple(
    sorted(
        (cost for cost in COSTS if cost.limit_rank is not None),
        key=lambda cost: cost.limit_rank or 0,
    )
)
"""The costs that a spec may limit, in the order of its keys; counted and measured ones."""

QUANTITIES = tuple(dict.fromkeys(cost.quantity for cost in COSTS if cost.quantity is not None))
"""What is read from a trace for all costs together."""


def derive_costs(quantities: Mapping[str, CountT], step: StepSpec) -> dict[str, CountT]:
    """Return the counted costs of what was read from a trace.

    Args:
        quantities: By name of `QUANTITIES`: numbers of one candidate, or arrays [n] of many.
        step: The step that was traced.
    """
    return {
        cost.name: cost.derive(quantities[cost.quantity.name], step)
        for cost in COSTS
        if cost.quantity is not None
    }
