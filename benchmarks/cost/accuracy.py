"""Errors: counted figures against formulas, and predicted peaks against real training steps.

Entry points: `counted_errors`, `predicted_peak_errors`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from widthwise.objectives.cost.costs import count_costs
from widthwise.tests.objectives.trace.real_step import OPTIMIZERS, real_peaks
from widthwise.tests.objectives.zoo.catalogue import ZOO, ZooModel
from widthwise.tests.objectives.zoo.formulas import EXPECTED_COSTS
from widthwise.tests.objectives.zoo.recompute import with_activation_checkpointing

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


def predicted_peak_errors(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield for each network, narrowed, the error of its predicted training peak, in percent."""
    for name, entry in ZOO.items():
        row: dict[str, Any] = {"network": name}
        for batch_size in (8,) if quick else (8, 32):
            for label, recompute, autocast in (
                ("fp32", False, None),
                ("fp32 checkpointed", True, None),
                ("bf16", False, torch.bfloat16),
            ):
                step = entry.small_step(batch_size, "adamw", autocast)
                build = partial(_build_small, entry, recompute)
                measured_peak, _ = real_peaks(build, step, OPTIMIZERS["adamw"][1])
                predicted_peak = count_costs(build, step).train_memory
                row[f"{label}, batch {batch_size}"] = percent_error(predicted_peak, measured_peak)
        yield row


def _build_small(entry: ZooModel, recompute: bool) -> nn.Module:
    return (
        with_activation_checkpointing(entry.small(), entry.blocks) if recompute else entry.small()
    )
