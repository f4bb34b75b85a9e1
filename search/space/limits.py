"""Limits: upper bounds on what a candidate may cost; a candidate within all of them is feasible.

FLOPs and MACs are of one forward pass of one sample (FLOPs = 2 × MACs); memory is in bytes. Costs
come as a mapping from the limits' names to integers: one candidate's, or arrays [n] of many.

    limits = Limits(flops=2_000_000, parameters=200_000)
    limits.is_feasible(model.evaluate(candidates))    # which of many; [n]
    limits.admits(costs)                              # the gate before one training
    limits.violations(costs)                          # what Optuna's set_constraint gets

Which costs can be limited, the registry of costs says (`objectives.cost.registry`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ...objectives.cost.registry import LIMITABLE_COSTS, Unit
from ..errors import SpecError
from ..units import (
    COST_BY_NAME,
    as_int,
    format_compact,
    format_count,
    format_memory,
    parse_count,
    parse_memory,
)

CostArrays = Mapping[str, npt.NDArray[np.int64]]
"""Costs of many candidates: name → [n]."""

MAX_LIMIT = 10**24
"""Largest limit, far above any cost: those are 64-bit integers."""

LIMIT_NAMES = tuple(cost.name for cost in LIMITABLE_COSTS if cost.quantity is not None)
"""The costs that bound the space: those that are counted before a training."""

_Bounds: Any = make_dataclass(
    "_Bounds", [(name, int | None, None) for name in LIMIT_NAMES], frozen=True, kw_only=True
)
"""One bound for each of `LIMIT_NAMES`."""


@final
@dataclass(frozen=True, kw_only=True)
class Limits(_Bounds):  # type: ignore[misc]  # its fields are the registry's limitable costs
    """Upper bounds on costs, each at least 1; None is no bound.

    There is a keyword for each of `LIMIT_NAMES`: flops and macs (forward, per sample), parameters,
    train_memory (at the proxy's batch size), inference_memory and file_size in bytes, and so on.
    """

    def __post_init__(self) -> None:
        for name, value in self.as_dict().items():
            number = as_int(value)
            if number is None or not 1 <= number <= MAX_LIMIT:
                raise SpecError(
                    f"limit {name!r} is {value!r}, expected a whole number from 1 to 10^24"
                )
            object.__setattr__(self, name, number)

    def names(self) -> tuple[str, ...]:
        """Return the names of the limits that are set, in the order of the fields."""
        return tuple(self.as_dict())

    def as_dict(self) -> dict[str, int]:
        """Return the limits that are set, by name."""
        values = {name: getattr(self, name) for name in LIMIT_NAMES}
        return {name: value for name, value in values.items() if value is not None}

    def is_feasible(self, costs: CostArrays) -> npt.NDArray[np.bool_]:
        """Return for each candidate whether it is within every limit; [n]."""
        count = len(next(iter(costs.values())))
        is_within = np.ones(count, dtype=np.bool_)
        for name, limit in self.as_dict().items():
            is_within &= costs[name] <= limit
        return is_within

    def admits(self, costs: Mapping[str, int]) -> bool:
        """Return whether one candidate is within every limit."""
        return all(costs[name] <= limit for name, limit in self.as_dict().items())

    def violations(self, costs: Mapping[str, int]) -> dict[str, float]:
        """Return by how much one candidate breaks each limit, as a share of it; ≤ 0 is feasible."""
        # Subtracting before dividing keeps the sign right when the two differ in the last digit.
        return {name: (costs[name] - limit) / limit for name, limit in self.as_dict().items()}

    def tightest_limit(self, costs: CostArrays) -> str | None:
        """Return the limit that rejects most candidates; of equals, the one used most on average.

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
        """Return the index of the candidate whose greatest share of a limit is least.

        Of equals it is the first.

        Raises:
            ValueError: There are no candidates.
        """
        shares = np.zeros(len(next(iter(costs.values()))))
        for name, limit in self.as_dict().items():
            shares = np.maximum(shares, costs[name] / float(limit))
        return int(np.argmin(shares))

    def format_limits(self) -> dict[str, str]:
        """Return the limits that are set, for people: exact, and short where that is exact."""
        return {name: _format_limit(name, limit) for name, limit in self.as_dict().items()}


def describe_nothing_feasible(
    limits: Limits, candidate: Mapping[str, int], costs: Mapping[str, int]
) -> str:
    """Return the sentence for a search that no candidate meets.

    Args:
        limits: The candidate breaks at least one of them.
        candidate: The widths that come nearest, see `Limits.nearest_index`.
        costs: What they cost.

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
    return COST_BY_NAME[name].unit is Unit.BYTES


def _is_decimal(limit: int) -> bool:
    """Return whether an amount of memory was most likely written in kB, MB or GB."""
    return not _reads_as(format_memory(limit), limit) and (
        _reads_as(format_memory(limit, decimal=True), limit)
    )


def _reads_as(text: str, limit: int) -> bool:
    """Return whether a rounded amount of memory is read as the limit itself."""
    try:
        return parse_memory(text) == limit
    except ValueError:  # rounded up, it is more than any limit may be
        return False


def _format_limit(name: str, limit: int) -> str:
    if not _is_memory(name):
        unit = COST_BY_NAME[name].unit
        short = format_compact(limit, unit)
        return short if parse_count(short, unit) == limit else f"{format_count(limit)} {unit}"
    short = format_memory(limit, decimal=_is_decimal(limit))
    return short if _reads_as(short, limit) else f"{short} ({format_count(limit)} bytes)"


def _format_need_and_limit(name: str, cost: int, limit: int) -> str:
    """Return what a candidate needs and what it may have, distinct however close they are."""
    if not _is_memory(name):
        return f"{format_count(cost)} {COST_BY_NAME[name].unit} (limit {format_count(limit)})"
    need, allowed = (format_memory(size, decimal=_is_decimal(limit)) for size in (cost, limit))
    if need == allowed:
        need, allowed = f"{format_count(cost)} bytes", f"{format_count(limit)} bytes"
    return f"{need} of {COST_BY_NAME[name].title} (limit {allowed})"


def _format_admitting_limit(name: str, cost: int, limit: int) -> str:
    """Return a limit to write in the spec, rounded up so that it admits the cost."""
    if _is_memory(name):
        return format_memory(cost, round_up=True, decimal=_is_decimal(limit))
    return format_compact(cost, round_up=True)
