"""A rule of thumb: what it says of given sizes, where it comes from, and what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FIRST_BLOCK = "channels of the first block"
"""Unit of a width that the later blocks follow, each twice the one before."""


@dataclass(frozen=True, kw_only=True)
class RuleRange:
    """A range of widths by one rule.

    Attributes:
        rule: Its name.
        formula: What it computes, with the numbers put in.
        low: The smallest width that it names, at least 1.
        high: The largest.
        unit: What a width counts.
        source: Where the rule stands; or that no primary source is known.
        applies_to: Which networks it is meant for.
        caveat: What it leaves out.
        applies: Whether it is meant for what was asked; other rules are shown, and not judged.
        widths: Of each layer, where the rule tells the layers apart.
        binding: Whether a search should reach over the range: a bound or an observation from
            elsewhere only shows.
    """

    rule: str
    formula: str
    low: int
    high: int
    unit: str
    source: str
    applies_to: str
    caveat: str
    applies: bool = True
    widths: Sequence[int] = ()
    binding: bool = True

    @property
    def span(self) -> str:
        """The range for people: "300 to 900"."""
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        return {
            "rule": self.rule,
            "formula": self.formula,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "source": self.source,
            "applies_to": self.applies_to,
            "applies": self.applies,
            "widths": list(self.widths),
            "caveat": self.caveat,
        }
