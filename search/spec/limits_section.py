"""The section `[limits]`: hard bounds, as numbers or as shares of a reference model's costs.

`flops = "2M"` is a number; `flops = "60% of today"` is a share of what the reference `today` costs.
References stand in `[references]`: widths for the spec's own model, or a builder of another model.
`LimitsSection.resolve` puts numbers in the shares' place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from ..space.limits import Limits
from ..units import parse_count, parse_duration, parse_memory
from .sections import Section

_RELATIVE_BOUND = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*of\s+(\S+)\s*")


def parse_relative_bound(text: str) -> tuple[float, str]:
    """`"60% of today"` as the share 0.6 and the reference's name."""
    match = _RELATIVE_BOUND.fullmatch(text)
    assert match is not None
    return float(match[1]) / 100, match[2]


def _bound_validator(parse: Callable[[Any], int]) -> BeforeValidator:
    def parse_bound(value: object) -> int | str:
        match = _RELATIVE_BOUND.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return parse(value)
        if float(match[1]) == 0:
            raise ValueError(f'found "{value}", expected a share above 0 %')
        return f"{match[1]}% of {match[2]}"

    return BeforeValidator(parse_bound)


FlopsBound = Annotated[int | str, _bound_validator(lambda value: parse_count(value, "FLOPs"))]
MacsBound = Annotated[int | str, _bound_validator(lambda value: parse_count(value, "MACs"))]
ParametersBound = Annotated[
    int | str, _bound_validator(lambda value: parse_count(value, "parameters"))
]
Seconds = Annotated[
    float,
    BeforeValidator(parse_duration),
    # Said with its unit, so that what is stored can be read again.
    PlainSerializer(
        lambda seconds: f"{seconds!r} s", return_type=str, when_used="json-unless-none"
    ),
]
BytesBound = Annotated[int | str, _bound_validator(parse_memory)]


class LimitsSection(Section):
    """`[to_limits]`: hard bounds; FLOPs = 2 × MACs, both forward and per sample; memory in bytes."""

    flops: FlopsBound | None = None
    macs: MacsBound | None = None
    parameters: ParametersBound | None = None
    train_memory: BytesBound | None = None
    inference_memory: BytesBound | None = None
    file_size: BytesBound | None = None
    latency: Seconds | None = None
    """Of one sample's inference; measured before a training, on the worker's device."""

    @property
    def relative_bounds(self) -> dict[str, tuple[float, str]]:
        """The limits that are shares of a reference: share and reference by limit."""
        bounds = self.model_dump(exclude_none=True)
        return {
            name: parse_relative_bound(value)
            for name, value in bounds.items()
            if isinstance(value, str)
        }

    def resolve(self, references: Mapping[str, Mapping[str, int]]) -> LimitsSection:
        """These limits as numbers.

        Args:
            references: Costs by name of each reference; a share of a cost is rounded down.
        """
        absolute_bounds = {
            name: max(1, int(fraction * references[reference][name]))
            for name, (fraction, reference) in self.relative_bounds.items()
        }
        return self.model_copy(update=absolute_bounds)

    def to_limits(self) -> Limits:
        """The bounds as the gate uses them; every share must be resolved."""
        assert not self.relative_bounds
        return Limits(**self.model_dump(exclude={"latency"}))

    @property
    def measured_limits(self) -> dict[str, float]:
        """The limits that only a measurement can check, by name, in seconds."""
        return {} if self.latency is None else {"latency": self.latency}
