"""A short training lowers the loss, repeats itself, and leaves the caller's streams alone."""

from __future__ import annotations

import torch
from torch import nn
from widthwise.objectives.growth.fit import fit_briefly

from .planted import perceptron, squared_error, teacher_rows


def test_it_trains_and_repeats_itself() -> None:
    training, _ = teacher_rows(0, rows=600)
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        model = nn.Sequential(perceptron([16]), nn.Dropout(0.1))
        before = squared_error(training.call(model), training.targets).item()
        state = torch.get_rng_state()
        fit_briefly(model, training, squared_error, epochs=5)
        assert torch.equal(torch.get_rng_state(), state)
        assert not model.training
        losses.append(squared_error(training.call(model), training.targets).item())
    assert losses[0] == losses[1] < before
