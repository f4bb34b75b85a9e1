"""Losses: by name, reference or function, and outputs in the shape of the targets."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from widthwise.objectives.errors import MetricError
from widthwise.objectives.model.losses import LOSSES, align_to_targets, cross_entropy, load_loss


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
        ((5, 12), (5, 3, 4), "regression", (5, 3, 4)),
        ((5, 1, 3, 4), (5, 3, 4), "regression", (5, 3, 4)),
        ((5, 4, 3), (5, 3, 4), "regression", (5, 4, 3)),
    ],
)
def test_outputs_are_brought_to_the_targets_shape(
    output: tuple[int, ...], targets: tuple[int, ...], task: Any, expected: tuple[int, ...]
) -> None:
    assert align_to_targets(torch.zeros(output), torch.zeros(targets), task).shape == expected


@pytest.mark.parametrize(
    ("output", "targets"),
    [
        pytest.param((6, 3), (6,), id="classes"),
        pytest.param((6, 3, 4, 5), (6, 4, 5), id="classes at positions"),
        pytest.param((6, 2), (6,), id="two classes"),
    ],
)
def test_cross_entropy_takes_the_classes_on_axis_1(
    output: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    logits = torch.randn(output, generator=torch.Generator().manual_seed(0))
    numbers = torch.arange(torch.Size(targets).numel()).reshape(targets) % output[1]
    rows = logits.movedim(1, -1).reshape(-1, output[1]).log_softmax(dim=1)
    expected = -rows[torch.arange(len(rows)), numbers.flatten()].mean()
    torch.testing.assert_close(cross_entropy(logits, numbers), expected)


@pytest.mark.parametrize(
    ("output", "targets"),
    [
        pytest.param((6,), (6,), id="a logit a row"),
        pytest.param((6, 1), (6,), id="a column"),
        pytest.param((6, 3), (6, 3), id="labels"),
        pytest.param((6, 1, 4, 5), (6, 4, 5), id="a mask"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_cross_entropy_takes_one_logit_for_yes_or_no(
    output: tuple[int, ...], targets: tuple[int, ...], dtype: torch.dtype
) -> None:
    logits = torch.randn(output, generator=torch.Generator().manual_seed(0))
    numbers = (torch.arange(torch.Size(targets).numel()).reshape(targets) % 2).to(dtype)
    share = torch.sigmoid(logits.reshape(targets))
    expected = -torch.where(numbers.bool(), share.log(), (1 - share).log()).mean()
    torch.testing.assert_close(cross_entropy(logits, numbers), expected)


def test_cross_entropy_takes_shares() -> None:
    logits, shares = torch.randn(6, 3), torch.full((6, 3), 1 / 3)
    expected = -logits.log_softmax(dim=1).mean()
    torch.testing.assert_close(cross_entropy(logits, shares), expected)


# The loss that a model gives itself


class Output:
    def __init__(self, loss: object) -> None:
        self.loss = loss


ONE = torch.tensor(1.5, requires_grad=True)


@pytest.mark.parametrize(
    "output",
    [ONE, (ONE, torch.ones(3)), [ONE], {"loss": ONE, "logits": torch.ones(3)}, Output(ONE)],
    ids=["scalar", "tuple", "list", "mapping", "object"],
)
def test_the_models_own_loss_is_found(output: Any, tmp_path: Path) -> None:
    name, function = load_loss("model", None, tmp_path)
    loss = function(output, None)
    assert loss.requires_grad
    assert (name, float(loss.detach()), loss.shape) == ("model", 1.5, ())


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"logits": torch.ones(3)}, "returns a dict without one"),
        ({"loss": torch.ones(3)}, r"gives \(3,\) for it"),
        (Output("low"), "gives a str for it"),
        (torch.ones(3, 2), r"gives \(3, 2\) for it"),
        ((), "returns a tuple without one"),
    ],
)
def test_a_model_without_a_loss_is_told(output: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=says):
        load_loss("model", None, tmp_path)[1](output, None)


def test_data_of_an_unknown_task_need_a_loss(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="there is no loss for data whose task is not known"):
        load_loss(None, None, tmp_path)
    assert load_loss("mse", None, tmp_path)[0] == "mse"


def test_cross_entropy_takes_the_classes_last_where_only_that_fits() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(4, 5, 7, generator=draw), torch.randint(7, (4, 5), generator=draw)
    expected = nn.functional.cross_entropy(logits.reshape(20, 7), targets.flatten())
    loss = cross_entropy(logits, targets)
    assert torch.equal(cross_entropy(logits.movedim(-1, 1), targets), loss)
    assert float(loss) == pytest.approx(float(expected))


def test_one_column_of_floats_is_that_of_yes() -> None:
    logits, targets = torch.tensor([[0.3], [-2.0]]), torch.tensor([[1.0], [0.0]])
    expected = nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert torch.equal(cross_entropy(logits, targets), expected)
