"""Models that take data in batches, and objectives of them, for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from widthwise.objectives.data.streams.source import BatchData
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.tests.objectives.data.streams.sets import read


class TwoInputs(nn.Module):
    def __init__(self, width: int, change: str = "") -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(6, width), change

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.change == "inputs":
            mask.zero_()
        out: Tensor = self.layer(x * mask).sum(1)
        return out


class Named(TwoInputs):
    """Gives its output by name."""

    def forward(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"logits": super().forward(x, mask)}


class Columns(TwoInputs):
    """Gives two columns, where the targets have none."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x, mask)[:, None].expand(-1, 2)


def in_batches(sample: Callable[[int], Any]) -> BatchData:
    class Rows(Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, row: int) -> Any:
            return sample(row)

    return read((Rows(), Rows()), batch_size=8)


def two_inputs(row: int) -> dict[str, Any]:
    return {"x": torch.full((6,), float(row)), "mask": torch.ones(6), "y": float(row)}


def batch_objective(build: Any = None, sample: Any = two_inputs, **options: Any) -> ModuleObjective:
    return make_objective(
        build=build or (lambda widths: TwoInputs(widths["a"])),
        data=in_batches(sample),
        base=Path(),
        **options,
    )
