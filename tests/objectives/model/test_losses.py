"""Losses: by name, reference or function, and outputs in the shape of the targets."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from widthwise.objectives.errors import MetricError
from widthwise.objectives.model.losses import LOSSES, align_to_targets, load_loss


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_scalars(name: str, tmp_path: Path) -> None:
    task, function = LOSSES[name]
    output = torch.randn(6, 3, requires_grad=True)
    target = torch.arange(6) % 3 if task == "classification" else torch.randn(6, 3)
    loss = load_loss(name, task, tmp_path)[1](output, target)
    assert loss.shape == ()
    assert loss.requires_grad
    assert function is load_loss(name, task, tmp_path)[1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mze", "did you mean 'mse'?"),
        ("mse", "is for a regression, the data asks for a classification: choose one of cross"),
    ],
)
def test_an_unknown_or_unsuitable_loss_is_refused(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(MetricError) as caught:
        load_loss(name, "classification", tmp_path)
    assert says in str(caught.value)


def test_a_loss_is_a_name_a_function_a_reference_or_the_tasks_own(tmp_path: Path) -> None:
    path = tmp_path / "own_loss.py"
    path.write_text("def loss(output, target):\n    return output.mean()\n")
    assert load_loss(None, "regression", tmp_path)[0] == "mse"
    assert load_loss(None, "classification", tmp_path)[0] == "cross_entropy"
    assert load_loss(nn.CrossEntropyLoss(), "classification", tmp_path)[0] == "CrossEntropyLoss"
    name, function = load_loss("own_loss.py:loss", "regression", tmp_path)
    assert (name, float(function(torch.ones(3), torch.ones(3)))) == ("own_loss.py:loss", 1.0)


@pytest.mark.parametrize(
    ("output", "targets", "task", "expected"),
    [
        ((5, 1), (5,), "regression", (5,)),
        ((5,), (5, 1), "regression", (5, 1)),
        ((5, 2), (5,), "regression", (5, 2)),
        ((5, 2), (5, 2), "regression", (5, 2)),
        ((5, 1), (5,), "classification", (5, 1)),
        ((1, 1), (1,), "regression", (1,)),
    ],
)
def test_outputs_are_brought_to_the_targets_shape(
    output: tuple[int, ...], targets: tuple[int, ...], task: Any, expected: tuple[int, ...]
) -> None:
    assert align_to_targets(torch.zeros(output), torch.zeros(targets), task).shape == expected
