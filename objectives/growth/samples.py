"""Samples: what a model is called with, and the targets, whatever shape its inputs have.

Entry point: `Samples`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Rows of inputs and targets.

    Attributes:
        inputs: Positional arguments of the model, each with its rows first.
        named: Keyword arguments of the model, likewise; masks, say.
        targets: Of the rows.
    """

    inputs: Sequence[Tensor]
    targets: Tensor
    named: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.targets)

    def select(self, rows: Tensor | slice) -> Samples:
        """Return some of the rows."""
        return replace(
            self,
            inputs=[tensor[rows] for tensor in self.inputs],
            named={name: tensor[rows] for name, tensor in self.named.items()},
            targets=self.targets[rows],
        )

    def draw(self, count: int, seed: int) -> Samples:
        """Return so many rows, drawn without repetition, in random order; all if there are fewer.

        The order matters where the rows are sorted by class: parts of them must be alike.
        """
        generator = torch.Generator().manual_seed(seed)
        return self.select(torch.randperm(self.rows, generator=generator)[:count])

    def split(self, parts: int) -> list[Samples]:
        """Return the rows in so many parts of almost equal size, none empty."""
        chunks = torch.arange(self.rows).tensor_split(min(parts, self.rows))
        return [self.select(rows) for rows in chunks]

    def batches(self, size: int) -> list[Samples]:
        """Return the rows in batches of at most so many."""
        return [self.select(rows) for rows in torch.split(torch.arange(self.rows), size)]

    def call(self, model: nn.Module) -> Any:
        """Return the model's output for all rows."""
        return model(*(tensor.clone() for tensor in self.inputs), **self.named)

    def to(self, device: torch.device) -> Samples:
        """Return the samples on a device."""
        return replace(
            self,
            inputs=[tensor.to(device) for tensor in self.inputs],
            named={name: tensor.to(device) for name, tensor in self.named.items()},
            targets=self.targets.to(device),
        )
