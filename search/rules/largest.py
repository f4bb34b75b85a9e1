"""The largest network that fits a GPU's memory, by our own counter.

The memory of a training step (AdamW in fp32, at the batch size given) is counted from a trace of
the real step, without allocating it. Widths are tried between what fits and what does not, until
they are neighbours.

Entry point: `largest_that_fits`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..errors import SpecError
from ..units import format_memory
from .inquiry import Inquiry, Kind
from .parameter_count import MAX_WIDTH, count_parameters, width_of_parameters
from .rule import FIRST_BLOCK, RuleRange

_BYTES_A_PARAMETER = 16
"""Weight, gradient and AdamW's two moments, 4 bytes each: less no training step takes."""


def largest_that_fits(inquiry: Inquiry) -> RuleRange:
    """Return the widths that fit the memory of an inquiry, which must have one.

    Raises:
        SpecError: Not even the smallest network fits.
    """
    assert inquiry.memory is not None
    step = _width_step(inquiry.kind)
    most = max(1, width_of_parameters(inquiry, inquiry.memory / _BYTES_A_PARAMETER) // step)
    width, used = find_largest(
        lambda multiple: training_memory(inquiry, multiple * step), inquiry.memory, most + 1
    )
    if not width:
        raise SpecError(
            f"--gpu-memory: {format_memory(inquiry.memory)} is less than the smallest network "
            f"takes, {format_memory(used, round_up=True)} for a width of {step} at a batch of "
            f"{inquiry.batch_size}; give more memory, or a smaller --batch-size"
        )
    width *= step
    top = "; wider ones were not tried" if width + step > MAX_WIDTH else ""
    return RuleRange(
        rule="largest that fits the memory",
        formula=f"training memory of width {width:,}: {format_memory(used)} of "
        f"{format_memory(inquiry.memory)}, {count_parameters(inquiry, width):,} parameters, at a "
        f"batch of {inquiry.batch_size}{top}",
        low=step,
        high=width,
        unit=FIRST_BLOCK if inquiry.kind is Kind.CNN else inquiry.kind.unit,
        source="Widthwise's counter of live bytes (docs/costs.md), AdamW in fp32"
        + (", a lower bound for recurrent kernels on a GPU" if inquiry.kind is Kind.LSTM else ""),
        applies_to="any network, as a bound from above",
        caveat="CUDA's own context takes some hundred MB besides; what fits need not be better",
        binding=False,
    )


def training_memory(inquiry: Inquiry, width: int) -> int:
    """Return the peak bytes of a training step of the reference network on a GPU."""
    from ...objectives.cost.costs import count_costs
    from ...objectives.training.step import StepSpec
    from .reference_network import reference_network, sample_spec

    step = StepSpec(
        inputs=(sample_spec(inquiry),), batch_size=inquiry.batch_size, device_type="cuda"
    )
    costs = count_costs(lambda: reference_network(inquiry, width), step)
    return int(costs.as_dict()["train_memory"])


def find_largest(memory_of: Callable[[int], int], memory: int, too_many: int) -> tuple[int, int]:
    """Return the largest multiple that fits, and what it takes; (0, what 1 takes) if none does.

    A step's memory is a polynomial of the second degree between the widths where the peak moves to
    another moment of the step: the parabola through the nearest three counts meets the bound next
    to the answer, mostly at once. In turns with halving, which bounds the rounds.

    Args:
        memory_of: Bytes of a multiple ≥ 1, which never fall.
        memory: Bytes there are.
        too_many: A multiple that does not fit.
    """
    counted: dict[int, int] = {}
    fits, fails = 0, too_many
    for start in (too_many // 2, too_many // 4):
        if fits < start < fails:
            counted[start] = memory_of(start)
            fits, fails = (start, fails) if counted[start] <= memory else (fits, start)
    halves = False
    while fails - fits > 1:
        multiple = None if halves else _parabola_root(counted, memory, fits, fails)
        halves = multiple is not None and not halves and len(counted) > _PARABOLAS
        if multiple is None:
            multiple = (fits + fails) // 2
        counted[multiple] = memory_of(multiple)
        if counted[multiple] <= memory:
            fits = multiple
        else:
            fails = multiple
    return (fits, counted[fits]) if fits else (0, counted.get(1) or memory_of(1))


_PARABOLAS = 8
"""Counts after which rounds of halving come between."""


def _parabola_root(counted: Mapping[int, int], memory: int, fits: int, fails: int) -> int | None:
    """Return where the parabola through the nearest counts crosses the bound; None without one."""
    middle = (fits + fails) / 2
    nearest = sorted(counted, key=lambda multiple: abs(multiple - middle))[:3]
    if len(nearest) < 3:
        return None
    values = [counted[multiple] - memory for multiple in nearest]
    roots = np.roots(np.polyfit(nearest, values, 2))
    real = [float(root.real) for root in roots if abs(root.imag) < 1e-6]
    inside = [root for root in real if fits - 1 <= root <= fails + 1]
    if not inside:
        return None
    # The neighbours of the crossing are the answer and the first that fails.
    below = math.floor(inside[0] + 1e-6)
    for multiple in (below, below + 1, below - 1):
        if fits < multiple < fails:
            return multiple
    return None


def _width_step(kind: Kind) -> int:
    """Return of what the widths are multiples: heads of 64 in a transformer, else 1."""
    return 64 if kind is Kind.TRANSFORMER else 1
