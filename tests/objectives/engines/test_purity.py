"""State outside torch's operators is seen, and values that are read out of tensors."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.engines.purity import hidden_state, reads_values

from .equality import family_objective, make_clusters

DATA = make_clusters(dtype=torch.float32)


def test_hidden_state_sees_what_operators_do_not() -> None:
    model = nn.Linear(2, 2)
    model.count, model.log = 0, []
    before = hidden_state(model)
    model.weight.data.add_(1)
    assert hidden_state(model) == before
    model.log.append(3)
    assert hidden_state(model) != before
    model.log.pop()
    model.count = 1
    assert hidden_state(model) != before


@pytest.mark.parametrize("draw", [random.random, np.random.rand], ids=["python", "numpy"])
def test_hidden_state_has_the_random_streams(draw: Callable[[], float]) -> None:
    model = nn.Linear(2, 2)
    before = hidden_state(model)
    draw()
    assert hidden_state(model) != before


class Branching(nn.Module):
    """A network that branches on a value, or does not."""

    def __init__(self, *, branches: bool) -> None:
        super().__init__()
        self.layers, self.branches = nn.Linear(7, 3), branches

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return -out if self.branches and float(out.sum()) > 0 else out


@pytest.mark.parametrize("branches", [False, True])
def test_a_branch_on_a_value_is_seen(branches: bool) -> None:
    objective = family_objective("mlp", DATA)
    inputs, targets = DATA.train.inputs[:4], DATA.train.targets[:4]
    assert reads_values(Branching(branches=branches), objective, inputs, targets) is branches
