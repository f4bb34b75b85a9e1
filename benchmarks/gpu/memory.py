"""What was predicted for a training step, beside the peak that torch's allocator held.

Entry points: `ARCHITECTURES`, `measure_architectures`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from widthwise.objectives.cost.costs import count_costs
from widthwise.objectives.cost.measure import measure_step
from widthwise.objectives.errors import ObjectiveError
from widthwise.objectives.training.step import StepSpec
from widthwise.tests.objectives.zoo.catalogue import ZOO, ZooModel
from widthwise.tests.objectives.zoo.recompute import with_activation_checkpointing

BATCH_SIZE, TINY_BATCH_SIZE = 8, 4


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row: a network of the zoo, and how it is trained.

    Attributes:
        model: The network, as published and narrowed.
        autocast: Type of torch.autocast; None for float32.
        checkpointed: Whether activations are computed again in the backward pass.
        accumulate: Parts that a batch passes through in.
    """

    model: ZooModel
    autocast: torch.dtype | None = None
    checkpointed: bool = False
    accumulate: int = 1

    def builder(self, *, tiny: bool) -> Callable[[], nn.Module]:
        """Return what makes the network, or its narrowed form."""
        build = self.model.small if tiny else self.model.build
        if not self.checkpointed:
            return build
        return lambda: with_activation_checkpointing(build(), self.model.blocks)

    def step(self, device: torch.device, *, tiny: bool) -> StepSpec:
        """Return the training step, counted for a device."""
        step = (
            self.model.small_step(TINY_BATCH_SIZE, "adamw")
            if tiny
            else self.model.step(BATCH_SIZE, "adamw")
        )
        step = replace(step, autocast=self.autocast, accumulate=self.accumulate)
        if device.type != "cuda":
            return step
        capability = torch.cuda.get_device_capability(device)
        return replace(step, device_type="cuda", capability=capability)


ARCHITECTURES: dict[str, Architecture] = {
    **{
        name: Architecture(model=ZOO[name])
        for name in (
            *("MLP", "ResNet-50", "MobileNetV2", "DCGAN generator", "U-Net"),
            *("nn.TransformerEncoder", "BERT-base", "GPT-2", "ViT-B/16"),
        )
    },
    "ResNet-50, bf16": Architecture(model=ZOO["ResNet-50"], autocast=torch.bfloat16),
    "GPT-2, bf16, batch in 4 parts": Architecture(
        model=ZOO["GPT-2"], autocast=torch.bfloat16, accumulate=4
    ),
    "BERT-base, bf16, checkpointed": Architecture(
        model=ZOO["BERT-base"], autocast=torch.bfloat16, checkpointed=True
    ),
}
"""The twelve, by name."""


def measure_architectures(
    device: torch.device, seconds_left: Callable[[], float], *, tiny: bool
) -> Iterator[dict[str, Any]]:
    """Yield for each architecture predicted and measured bytes.

    A row has `error` where the step did not run, `skipped` where the time was over.

    Args:
        device: Where a real step runs.
        seconds_left: Returns the seconds that are left; asked before each architecture.
        tiny: Whether the narrowed networks are measured.
    """
    for name, architecture in ARCHITECTURES.items():
        build = architecture.builder(tiny=tiny)
        step = architecture.step(device, tiny=tiny)
        row: dict[str, Any] = {"architecture": name, "batch_size": step.batch_size}
        if seconds_left() <= 0:
            yield {**row, "skipped": "the time was over"}
            continue
        try:
            row["predicted"] = count_costs(build, step).train_memory
            measured = measure_step(build, step, device)
        except (ObjectiveError, torch.OutOfMemoryError) as error:
            yield {**row, "error": str(error)}
        else:
            yield {
                **row,
                "measured": measured.train_memory,
                "predicted_over_measured": row["predicted"] / measured.train_memory,
                "step_seconds": measured.seconds,
            }
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
