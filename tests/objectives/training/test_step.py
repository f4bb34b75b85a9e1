"""Training steps: a batch in parts has the gradients of the whole."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.data.streams.batch import Batch
from widthwise.objectives.training.step import training_step


def gradients(model: nn.Module, x: Tensor, y: Tensor, parts: int) -> tuple[float, list[Tensor]]:
    model = deepcopy(model)
    loss = training_step(
        model,
        None,
        nn.functional.cross_entropy,
        Batch((x,), targets=y),
        autocast=None,
        accumulate=parts,
    )
    return float(loss), [parameter.grad for parameter in model.parameters()]  # type: ignore[misc]


@hypothesis(deadline=None, max_examples=40)
@given(rows=st.integers(1, 23), parts=st.integers(1, 25), seed=st.integers(0, 5))
def test_parts_of_a_batch_give_the_whole_batchs_gradients(rows: int, parts: int, seed: int) -> None:
    """Uneven parts too, and more parts than rows."""
    stream = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=stream, dtype=torch.float64)
    y = torch.randint(3, (rows,), generator=stream)
    model = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3)).double()
    whole, parted = gradients(model, x, y, 1), gradients(model, x, y, parts)
    assert parted[0] == pytest.approx(whole[0], rel=1e-12)
    for item, other in zip(parted[1], whole[1], strict=True):
        torch.testing.assert_close(item, other, rtol=1e-10, atol=1e-12)
