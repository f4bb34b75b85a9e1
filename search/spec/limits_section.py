"""The section `[limits]`: hard bounds, as numbers or as shares of a reference model's costs.

`flops = "2M"` is a number; `flops = "60% of today"` is a share of what the reference `today` costs.
References stand in `[references]`: widths for the spec's own model, or a builder of another model.
Which costs can be limited, and in which unit, the registry of costs says.

Entry point: `LimitsSection`; its `resolve` puts numbers in the shares' place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, create_model

from ...objectives.cost.registry import LIMITABLE_COSTS, Cost
from ..space.limits import LIMIT_NAMES, Limits
from ..units import parse_cost
from .device import check_memory_device
from .messages import format_value
from .sections import Section

_RELATIVE_BOUND = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*of\s+(\S+)\s*")

_MAX_SHARE_PERCENT = 1_000_000

MEASURED_LIMIT_NAMES = tuple(cost.name for cost in LIMITABLE_COSTS if cost.quantity is None)
"""The costs that only a measurement on the worker's device can check."""


def parse_relative_bound(text: str) -> tuple[float, str]:
    """Return `"60% of today"` as the share 0.6 and the reference's name."""
    match = _RELATIVE_BOUND.fullmatch(text)
    assert match is not None
    return float(match[1]) / 100, match[2]


def _bound_type(cost: Cost) -> Any:
    """Return the type of the section's key for a cost, with its parser."""

    def parse_bound(value: Any) -> float | str:
        match = _RELATIVE_BOUND.fullmatch(value) if isinstance(value, str) else None
        if match is None or cost.quantity is None:
            return parse_cost(cost.name, value)
        if not 0 < float(match[1]) <= _MAX_SHARE_PERCENT:
            raise ValueError(
                f"found {format_value(value)}, expected a share above 0 % and of at most "
                f"{_MAX_SHARE_PERCENT:,} %"
            )
        return f"{match[1]}% of {match[2]}"

    if cost.quantity is None:
        # Written with its unit, so that what is stored can be read again.
        with_unit = PlainSerializer(
            lambda amount: f"{amount!r} {cost.unit}",
            return_type=str,
            when_used="json-unless-none",
        )
        return Annotated[float, BeforeValidator(parse_bound), with_unit] | None
    return Annotated[int | str, BeforeValidator(parse_bound)] | None


if TYPE_CHECKING:
    _Bounds = Section
else:
    _Bounds = create_model(
        "_Bounds",
        __base__=Section,
        **{cost.name: (_bound_type(cost), None) for cost in LIMITABLE_COSTS},
    )


class LimitsSection(_Bounds):
    """`[limits]`: hard bounds, a key for each of the registry's limitable costs.

    FLOPs = 2 × MACs, both forward and per sample; memory in bytes; latency in seconds of one
    sample's inference, measured before a training, on the worker's device.

    Attributes:
        memory_for: What memory is counted for, such as "cuda" where it is trained on a CPU; None
            for the device that is trained on.
    """

    memory_for: Annotated[str, AfterValidator(check_memory_device)] | None = None

    @property
    def bounds(self) -> dict[str, Any]:
        """The limits that are set, by name."""
        return self.model_dump(exclude_none=True, exclude={"memory_for"})

    @property
    def relative_bounds(self) -> dict[str, tuple[float, str]]:
        """The limits that are shares of a reference: share and reference by limit."""
        return {
            name: parse_relative_bound(value)
            for name, value in self.bounds.items()
            if isinstance(value, str)
        }

    def resolve(self, references: Mapping[str, Mapping[str, int]]) -> LimitsSection:
        """Return these limits as numbers.

        Args:
            references: Costs by name of each reference; a share of a cost is rounded down.
        """
        absolute_bounds = {
            name: max(1, int(fraction * references[reference][name]))
            for name, (fraction, reference) in self.relative_bounds.items()
        }
        return self.model_copy(update=absolute_bounds)

    def to_limits(self) -> Limits:
        """Return the bounds as the gate uses them; every share must be resolved."""
        assert not self.relative_bounds
        return Limits(**self.model_dump(include=set(LIMIT_NAMES)))

    @property
    def counted_limits(self) -> tuple[str, ...]:
        """Names of the limits that are set and can be counted, in the order of the keys."""
        return tuple(name for name in LIMIT_NAMES if getattr(self, name) is not None)

    @property
    def measured_limits(self) -> dict[str, float]:
        """The limits that only a measurement can check, by name, in seconds."""
        bounds = {name: getattr(self, name) for name in MEASURED_LIMIT_NAMES}
        return {name: bound for name, bound in bounds.items() if bound is not None}
