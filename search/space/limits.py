"""Limits: upper bounds on what a candidate may cost; a candidate within all of them is feasible.

FLOPs and MACs are of one forward pass of one sample (FLOPs = 2 × MACs); memory is in bytes. Costs
come as a mapping from the limits' names to integers: one candidate's, or arrays [n] of many.

    limits = Limits(flops=2_000_000, parameters=200_000)
    limits.is_feasible(model.evaluate(candidates))       # which of many; [n]
    limits.admits(costs)                              # the gate before one training
    limits.violations(costs)                          # what Optuna's set_constraint gets
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import final

import numpy as np
import numpy.typing as npt

from ..errors import SpecError
from ..units import as_int, format_compact, format_count, format_memory, parse_count, parse_memory

CostArrays = Mapping[str, npt.NDArray[np.int64]]
"""Costs of many candidates: name → [n]."""

MAX_LIMIT = 10**24
"""Largest limit, far above any cost: those are 64-bit integers."""

LIMIT_UNITS = {
    "flops": "FLOPs",
    "macs": "MACs",
    "parameters": "parameters",
    "train_memory": "training memory",
    "inference_memory": "inference memory",
    "file_size": "file size",
}
"""What each limit bounds, for people."""


@final
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds on costs, each at least 1; None is no bound."""

    flops: int | None = None
    """Floating-point operations, 2 a multiply-add; forward, per sample."""
    macs: int | None = None
    """Multiply-adds; forward, per sample."""
    parameters: int | None = None
    """Parameters, trainable or not."""
    train_memory: int | None = None
    """Peak of one training step at the proxy's batch size; bytes."""
    inference_memory: int | None = None
    """Peak of one forward pass without gradients; bytes."""
    file_size: int | None = None
    """Tensors of the model's file; bytes."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            number = as_int(value)
            if number is None or not 1 <= number <= MAX_LIMIT:
                raise SpecError(
                    f"limit {field.name!r} is {value!r}, expected a whole number from 1 to 10^24"
                )
            object.__setattr__(self, field.name, number)

    def names(self) -> tuple[str, ...]:
        """The limits that are set, in the order of the fields."""
        return tuple(self.as_dict())

    def as_dict(self) -> dict[str, int]:
        """The limits that are set."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def is_feasible(self, costs: CostArrays) -> npt.NDArray[np.bool_]:
        """Which candidates are within every limit; [n]."""
        count = len(next(iter(costs.values())))
        is_within = np.ones(count, dtype=np.bool_)
        for name, limit in self.as_dict().items():
            is_within &= costs[name] <= limit
        return is_within

    def admits(self, costs: Mapping[str, int]) -> bool:
        """Whether one candidate is within every limit."""
        return all(costs[name] <= limit for name, limit in self.as_dict().items())

    def violations(self, costs: Mapping[str, int]) -> dict[str, float]:
        """By how much one candidate breaks each limit, as a share of it; at most 0 is feasible."""
        # Subtracting before dividing keeps the sign right when the two differ in the last digit.
        return {name: (costs[name] - limit) / limit for name, limit in self.as_dict().items()}

    def tightest_limit(self, costs: CostArrays) -> str | None:
        """The limit that rejects most candidates; if equal, the one they use most of on average.

        Returns:
            The limit's name, or None if no limit is set or there are no candidates.
        """

        def strictness(name: str) -> tuple[int, float]:
            return int((costs[name] > limits[name]).sum()), float(
                np.mean(costs[name] / float(limits[name]))
            )

        limits = self.as_dict()
        if not limits or not len(next(iter(costs.values()))):
            return None
        return max(limits, key=strictness)

    def nearest_index(self, costs: CostArrays) -> int:
        """The index of the candidate whose greatest share of a limit is least; the first of equals.

        Raises:
            ValueError: there are no candidates.
        """
        shares = np.zeros(len(next(iter(costs.values()))))
        for name, limit in self.as_dict().items():
            shares = np.maximum(shares, costs[name] / float(limit))
        return int(np.argmin(shares))

    def format_limits(self) -> dict[str, str]:
        """The limits that are set, for people: exact, and short where that is exact."""
        return {name: _format_limit(name, limit) for name, limit in self.as_dict().items()}


def describe_nothing_feasible(
    limits: Limits, candidate: Mapping[str, int], costs: Mapping[str, int]
) -> str:
    """The sentence for a search that no candidate meets.

    Args:
        limits: what the candidate breaks at least one of.
        candidate: the widths that come nearest, see `Limits.nearest_index`.
        costs: what they cost.

    Returns:
        Which limits the candidate breaks, both values of each, and limits that would admit it.
    """
    broken = {name: limit for name, limit in limits.as_dict().items() if costs[name] > limit}
    widths = ", ".join(f"{name}={width}" for name, width in candidate.items())
    needs = " and ".join(
        _format_need_and_limit(name, costs[name], limit) for name, limit in broken.items()
    )
    advice = " and ".join(
        f'{name} = "{_format_admitting_limit(name, costs[name], limit)}"'
        for name, limit in broken.items()
    )
    return (
        f"no candidate meets the limits: the nearest, {widths}, needs {needs}; "
        f"set {advice} to admit it"
    )


def _is_memory(name: str) -> bool:
    return name.endswith("_memory") or name == "file_size"


def _is_decimal(limit: int) -> bool:
    """Whether an amount of memory was most likely written in kB, MB or GB."""
    return parse_memory(format_memory(limit)) != limit and (
        parse_memory(format_memory(limit, decimal=True)) == limit
    )


def _format_limit(name: str, limit: int) -> str:
    if not _is_memory(name):
        short = format_compact(limit, LIMIT_UNITS[name])
        exact = parse_count(short, LIMIT_UNITS[name]) == limit
        return short if exact else f"{format_count(limit)} {LIMIT_UNITS[name]}"
    short = format_memory(limit, decimal=_is_decimal(limit))
    return short if parse_memory(short) == limit else f"{short} ({format_count(limit)} bytes)"


def _format_need_and_limit(name: str, cost: int, limit: int) -> str:
    """What a candidate needs and what it may have, told apart however close they are."""
    if not _is_memory(name):
        return f"{format_count(cost)} {LIMIT_UNITS[name]} (limit {format_count(limit)})"
    need, allowed = (format_memory(size, decimal=_is_decimal(limit)) for size in (cost, limit))
    if need == allowed:
        need, allowed = f"{format_count(cost)} bytes", f"{format_count(limit)} bytes"
    return f"{need} of {LIMIT_UNITS[name]} (limit {allowed})"


def _format_admitting_limit(name: str, cost: int, limit: int) -> str:
    """A limit to write in the spec, rounded up so that it admits the cost."""
    if _is_memory(name):
        return format_memory(cost, round_up=True, decimal=_is_decimal(limit))
    return format_compact(cost, round_up=True)
