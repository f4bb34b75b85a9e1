"""The range to search: wide enough for every rule that applies, and the spec that searches it.

Rules that contradict each other are not averaged: the range spans them all, in powers of two, and
ends where the memory does. Entry points: `SearchRange`, `propose_range`, `contradictions`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..command import format_command
from .inquiry import Inquiry, Kind, Task
from .parameter_count import last_width
from .rule import FIRST_BLOCK, RuleRange

_SMALLEST = 4
_LARGEST = 16_384
"""Widths beyond which no range is proposed, whatever a rule says."""
_VALUES = 64
"""Values of a width: 1.6 % apart at the top, less than a training tells apart."""
_MOST_WIDTHS = 6
"""Layers whose widths are searched one by one; those of a deeper network are tied to one width."""
_HEAD_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class SearchRange:
    """Widths to search, and how.

    Attributes:
        inquiry: What was asked.
        widths: Low, high and step by width.
        order: "non-increasing" or "non-decreasing"; None for no order.
        tied: Whether all widths are equal, because there are too many to search one by one.
    """

    inquiry: Inquiry
    widths: Mapping[str, Mapping[str, int]]
    order: str | None
    tied: bool = False

    @property
    def candidates(self) -> int:
        """The values of all widths multiplied, before orders and limits."""
        counts = [(width["high"] - width["low"]) // width["step"] + 1 for width in self._free]
        return math.prod(counts)

    @property
    def _free(self) -> list[Mapping[str, int]]:
        return list(self.widths.values())[: 1 if self.tied else None]

    @property
    def command(self) -> str:
        """The command that searches it."""
        return format_command("run", "widthwise.toml")

    @property
    def spec(self) -> str:
        """The spec's text, for a file `widthwise.toml`."""
        kind, task = self.inquiry.kind, self.inquiry.task
        lines = ["[study]", 'name = "suggested"', "", "[model]"]
        if kind in (Kind.MLP, Kind.CNN):
            lines += [f'family = "{kind}"']
        else:
            lines += ['build = "my_model.py:build"    # from these widths to your nn.Module']
        lines += ["", "[widths]"]
        for name, width in self.widths.items():
            parts = ", ".join(f"{key} = {value}" for key, value in width.items())
            lines += [f"{name} = {{ {parts} }}"]
        if self.order is not None:
            lines += [f'order = "{self.order}"']
        if self.tied:
            lines += [f"tie = [[{', '.join(json.dumps(name) for name in self.widths)}]]"]
        if self.inquiry.memory is not None:
            lines += ["", "[limits]", f'train_memory = "{self.inquiry.memory} B"']
        lines += ["", "[proxy]"]
        if task in (Task.CLASSIFICATION, Task.REGRESSION):
            lines += ['data = "FILE.csv"', 'target = "COLUMN"']
        else:
            lines += ['data = "my_data.py:load"    # returns (x, y)']
        if self.inquiry.batch_size != 64:
            lines += [f"batch_size = {self.inquiry.batch_size}"]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return the range as JSON."""
        return {
            "widths": {name: dict(width) for name, width in self.widths.items()},
            "order": self.order,
            "tied": self.tied,
            "candidates": self.candidates,
            "spec": self.spec,
            "command": self.command,
        }


def propose_range(inquiry: Inquiry, rules: Sequence[RuleRange]) -> SearchRange:
    """Return a range that reaches over every rule that applies, as far as the memory goes."""
    reaching = [rule for rule in rules if rule.applies and rule.binding]
    low = max(_SMALLEST, _power_below(min(rule.low for rule in reaching)))
    high = min(_LARGEST, _power_above(max(_reach(rule, inquiry) for rule in reaching)))
    ceilings = [_reach(rule, inquiry) for rule in rules if rule.rule.startswith("largest")]
    if ceilings:
        high = min(high, max(ceilings))
    names = _width_names(inquiry)
    widths: dict[str, dict[str, int]] = {}
    for name in names:
        factor = 4 if name == "feedforward" else 1
        step = _HEAD_SIZE if inquiry.kind is Kind.TRANSFORMER else 1
        widths[name] = _lattice(low * factor, max(high, low) * factor, step)
    orders = {Kind.MLP: "non-increasing", Kind.CNN: "non-decreasing"}
    tied = len(names) > _MOST_WIDTHS
    ordered = len(names) > 1 and not tied
    return SearchRange(
        inquiry=inquiry,
        widths=widths,
        order=orders.get(inquiry.kind) if ordered else None,
        tied=tied,
    )


def contradictions(
    inquiry: Inquiry, rules: Sequence[RuleRange]
) -> Iterator[tuple[RuleRange, RuleRange]]:
    """Yield the pairs of rules that apply and have no width in common, the farthest apart first."""

    def high(rule: RuleRange) -> int:
        return _reach(rule, inquiry)

    judged = [rule for rule in rules if rule.applies and rule.binding]
    pairs = [
        (first, second) if high(first) < second.low else (second, first)
        for first, second in combinations(judged, 2)
        if high(first) < second.low or high(second) < first.low
    ]
    yield from sorted(pairs, key=lambda pair: -pair[1].low / high(pair[0]))


def _reach(rule: RuleRange, inquiry: Inquiry) -> int:
    """Return the widest layer that a rule means; of a first block, the last one's channels."""
    return last_width(inquiry, rule.high) if rule.unit == FIRST_BLOCK else rule.high


def _width_names(inquiry: Inquiry) -> list[str]:
    if inquiry.kind is Kind.TRANSFORMER:
        return ["d_model", "feedforward"]
    stem = {Kind.MLP: "hidden", Kind.CNN: "channels", Kind.LSTM: "hidden"}[inquiry.kind]
    return [f"{stem}{layer}" for layer in range(1, inquiry.layers + 1)]


def _lattice(low: int, high: int, multiple: int) -> dict[str, int]:
    """Return low, high and step: some `_VALUES` values, all multiples of the step."""
    step = max(multiple, _power_below(max(1, (high - low) // _VALUES)))
    low = max(step, low // step * step)
    return {"low": low, "high": max(low, high // step * step), "step": step}


def _power_below(number: int) -> int:
    """Return the largest power of two that is not larger."""
    return 1 << (number.bit_length() - 1)


def _power_above(number: int) -> int:
    """Return the smallest power of two that is not smaller."""
    return 1 << (number - 1).bit_length()
