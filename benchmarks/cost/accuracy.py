"""Errors: counted figures against formulas.

Entry point: `counted_errors`.
"""

from collections.abc import Iterator
from typing import Any

from widthwise.objectives.cost.costs import count_costs
from widthwise.tests.objectives.zoo.catalogue import ZOO
from widthwise.tests.objectives.zoo.formulas import EXPECTED_COSTS

from .tools import TOOLS, count_with_tool

QUICK_MACS = 2 * 10**9
"""Largest forward pass that a quick run gives to the tools, which really run it."""


def percent_error(estimate: int | None, expected: int) -> float | None:
    """Return the signed error in percent."""
    return None if estimate is None else 100 * (estimate - expected) / expected


def counted_errors(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield for each network the true figures and the errors of all counters, in percent."""
    for name, entry in ZOO.items():
        expected = EXPECTED_COSTS[name]
        if quick and expected.forward > QUICK_MACS:
            continue
        costs = count_costs(entry.build, entry.step(1))
        errors: dict[str, Any] = {
            "widthwise": {
                "parameters": percent_error(costs.parameters, expected.parameters),
                "macs": percent_error(costs.macs, expected.forward),
                "step": percent_error(costs.step_flops, 2 * expected.step),
            }
        }
        for tool in TOOLS:
            answer = count_with_tool(tool, entry.build, entry.inputs.zeros(1))
            errors[tool] = {
                "parameters": percent_error(answer.parameters, expected.parameters),
                "macs": percent_error(answer.macs, expected.forward),
                "problem": answer.problem,
            }
        yield {
            "network": name,
            "parameters": expected.parameters,
            "macs": expected.forward,
            "step_over_forward": expected.step / expected.forward,
            "errors": errors,
        }
