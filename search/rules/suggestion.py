"""The suggestion: all rules for given sizes, where they contradict each other, what to search.

Entry point: `suggest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .inquiry import Inquiry
from .published import published_rules
from .roles import role_rule
from .rule import RuleRange
from .search_range import SearchRange, contradictions, propose_range
from .size_rules import size_rules

_SHOWN_CONTRADICTIONS = 3


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What rules of thumb say of given sizes.

    Attributes:
        inquiry: What was asked.
        rules: Every rule, those that are not meant for this task last.
        search: The range to search.
    """

    inquiry: Inquiry
    rules: Sequence[RuleRange]
    search: SearchRange

    @property
    def contradictions(self) -> list[tuple[RuleRange, RuleRange]]:
        """Pairs of rules that have no width in common, the farthest apart first."""
        return list(contradictions(self.inquiry, self.rules))

    def to_json(self) -> dict[str, Any]:
        """Return the suggestion as JSON."""
        inquiry = self.inquiry
        return {
            "task": str(inquiry.task),
            "kind": str(inquiry.kind),
            "inputs": list(inquiry.input_shape) if len(inquiry.input_shape) > 1 else inquiry.inputs,
            "outputs": inquiry.outputs,
            "samples": inquiry.samples,
            "layers": inquiry.layers,
            "batch_size": inquiry.batch_size,
            "gpu_memory": inquiry.memory,
            "ranges": [rule.to_json() for rule in self.rules],
            "contradictions": [
                {"rules": [low.rule, high.rule], "text": _contradiction(low, high)}
                for low, high in self.contradictions
            ],
            "search": self.search.to_json(),
        }

    def sentences(self) -> list[str]:
        """Return what contradicts what, for people."""
        pairs = self.contradictions
        shown = [_contradiction(low, high) for low, high in pairs[:_SHOWN_CONTRADICTIONS]]
        if len(pairs) > len(shown):
            shown.append(f"{len(pairs) - len(shown)} more pairs have no width in common.")
        if pairs:
            shown.append("No rule knows the task itself: the range below spans them all.")
        return shown


def suggest(inquiry: Inquiry) -> Suggestion:
    """Return what the rules say.

    torch is imported only where a memory is given, whose largest network has to be counted.

    Raises:
        SpecError: Not even the smallest network fits the memory.
    """
    rules = [*size_rules(inquiry), role_rule(inquiry), *published_rules(inquiry)]
    if inquiry.memory is not None:
        from .largest import largest_that_fits

        rules.append(largest_that_fits(inquiry))
    rules.sort(key=lambda rule: not rule.applies)
    return Suggestion(inquiry=inquiry, rules=rules, search=propose_range(inquiry, rules))


def _contradiction(low: RuleRange, high: RuleRange) -> str:
    return (
        f"“{low.rule}” says {low.span}, “{high.rule}” says {high.span}: they have no width in "
        "common."
    )
