"""Samples: rows of several inputs stay together."""

from __future__ import annotations

import torch
from widthwise.objectives.growth.samples import Samples

ROWS = Samples(
    inputs=[torch.arange(10), torch.arange(10)[:, None] * 2],
    named={"mask": torch.arange(10) > 4},
    targets=torch.arange(10) * 3,
)


def test_rows_stay_together() -> None:
    drawn = ROWS.draw(6, 0)
    assert drawn.rows == 6
    assert torch.equal(drawn.inputs[0] * 3, drawn.targets)
    assert torch.equal(drawn.inputs[1][:, 0] * 3, drawn.targets * 2)
    assert torch.equal(drawn.named["mask"], drawn.inputs[0] > 4)
    assert torch.equal(ROWS.draw(6, 0).targets, drawn.targets)


def test_parts_are_all_rows_once() -> None:
    for parts in (ROWS.split(3), ROWS.batches(4), ROWS.split(40)):
        assert torch.equal(torch.cat([part.targets for part in parts]), ROWS.targets)
        assert all(part.rows for part in parts)
