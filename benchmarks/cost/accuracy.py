"""Errors: counted figures against formulas, and predicted peaks against real training steps.

Entry points: `counted`, `predicted`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from widthwise.objectives.cost.costs import count_costs
from widthwise.tests.objectives.trace.real_step import OPTIMIZERS, real_peaks
from widthwise.tests.objectives.zoo.catalogue import ZOO, Entry
from widthwise.tests.objectives.zoo.formulas import FIGURES
from widthwise.tests.objectives.zoo.recompute import checkpointed

from .tools import TOOLS, ask

QUICK_MACS = 2 * 10**9
"""Largest forward pass that a quick run gives to the tools, which really run it."""


def error(found: int | None, true: int) -> float | None:
    """Return the signed error in percent."""
    return None if found is None else 100 * (found - true) / true


def counted(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield for each network the true figures and everybody's errors, in percent."""
    for name, entry in ZOO.items():
        true = FIGURES[name]
        if quick and true.forward > QUICK_MACS:
            continue
        costs = count_costs(entry.build, entry.step(1))
        errors: dict[str, Any] = {
            "widthwise": {
                "parameters": error(costs.parameters, true.parameters),
                "macs": error(costs.macs, true.forward),
                "step": error(costs.step_flops, 2 * true.step),
            }
        }
        for tool in TOOLS:
            answer = ask(tool, entry.build, entry.inputs.zeros(1))
            errors[tool] = {
                "parameters": error(answer.parameters, true.parameters),
                "macs": error(answer.macs, true.forward),
                "problem": answer.problem,
            }
        yield {
            "network": name,
            "parameters": true.parameters,
            "macs": true.forward,
            "step_over_forward": true.step / true.forward,
            "errors": errors,
        }


def predicted(quick: bool) -> Iterator[dict[str, Any]]:
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
                build = partial(_small, entry, recompute)
                real, _ = real_peaks(build, step, OPTIMIZERS["adamw"][1])
                found = count_costs(build, step).train_memory
                row[f"{label}, batch {batch_size}"] = error(found, real)
        yield row


def _small(entry: Entry, recompute: bool) -> nn.Module:
    return checkpointed(entry.small(), entry.blocks) if recompute else entry.small()
