"""Targets of more than one axis: what they are recognised as, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.data.arrays.result import read_result
from widthwise.objectives.data.dataset import Data, Task
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.errors import DataError

ROWS = 60
RNG = np.random.default_rng(3)
X = RNG.normal(size=(ROWS, 4))
MASKS = RNG.integers(0, 3, (ROWS, 6, 5))
MANY_LABELS = RNG.integers(0, 2, (ROWS, 4))
NUMBERS = RNG.integers(0, 4, ROWS)
SHARES = RNG.dirichlet(np.ones(3), ROWS)


def load_targets(y: Any, task: str | None = None, *, own_loss: bool = False) -> Data:
    raw = read_result("own.py:data", (X, y))
    assert not isinstance(raw, Data)
    return make_dataset(raw, 0, None if task is None else Task(task), own_loss=own_loss)


def everything(data: Data) -> torch.Tensor:
    return torch.cat([split.targets for split in (data.train, data.validation, data.test)])


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("y", "task", "outputs", "shape"),
    [
        pytest.param(MASKS, "classification", 3, (6, 5), id="masks"),
        pytest.param(MASKS.astype(np.uint8), "classification", 3, (6, 5), id="small masks"),
        pytest.param(MASKS[:, :, 0], "classification", 3, (6,), id="sequences"),
        pytest.param(MASKS[:, None], "classification", 3, (1, 6, 5), id="masks with a channel"),
        pytest.param(MASKS > 0, "classification", 2, (6, 5), id="true and false"),
        pytest.param((MASKS > 0) * 1.0, "classification", 2, (6, 5), id="fractions of 0 and 1"),
        pytest.param(MANY_LABELS, "classification", 4, (4,), id="labels"),
        pytest.param(MANY_LABELS.astype(bool), "classification", 4, (4,), id="true labels"),
        pytest.param(MANY_LABELS.astype(np.float32), "classification", 4, (4,), id="float labels"),
        pytest.param(np.eye(4)[NUMBERS], "classification", 4, (), id="one-hot"),
        pytest.param(
            np.eye(4, dtype=np.int64)[NUMBERS], "classification", 4, (), id="whole one-hot"
        ),
        pytest.param(X[:, :3] * 7, "regression", 3, (3,), id="quantities"),
        pytest.param(
            RNG.integers(0, 9999, (ROWS, 3)), "regression", 3, (3,), id="whole quantities"
        ),
        pytest.param(RNG.normal(size=(ROWS, 6, 5)), "regression", 30, (6, 5), id="images"),
        pytest.param(RNG.integers(0, 500, (ROWS, 6, 5)), "classification", 500, (6, 5), id="many"),
    ],
)
def test_the_task_and_the_shape_are_recognised(
    y: Any, task: str, outputs: int, shape: tuple[int, ...], convert: Any
) -> None:
    data = load_targets(convert(y))
    assert (data.task, tuple(data.train.targets.shape[1:])) == (task, shape)
    assert data.outputs == outputs or (outputs == 500 and data.outputs > 490)
    assert data.train.targets.dtype == (torch.int64 if task == "classification" else torch.float32)
    assert f"target 'y': {task}" in "\n".join(data.notes)


@pytest.mark.parametrize(
    ("y", "task", "outputs", "shape"),
    [
        pytest.param(MANY_LABELS, "regression", 4, (4,), id="labels as quantities"),
        pytest.param(MASKS, "regression", 30, (6, 5), id="masks as quantities"),
        pytest.param(SHARES, "classification", 3, (3,), id="shares"),
        pytest.param(MASKS.astype(float), "classification", 3, (6, 5), id="whole fractions"),
        pytest.param(np.abs(MASKS[:, 0]) * 300, "classification", 601, (5,), id="token ids"),
    ],
)
def test_a_stated_task_is_honoured(y: Any, task: str, outputs: int, shape: tuple[int, ...]) -> None:
    data = load_targets(y, task)
    assert (data.task, data.outputs) == (task, outputs)
    assert tuple(data.train.targets.shape[1:]) == shape


def test_what_a_task_is_stated_for_is_otherwise_the_other_one() -> None:
    assert load_targets(SHARES).task == "regression"
    assert load_targets(MASKS.astype(float)).task == "regression"


def test_one_hot_rows_are_numbered_for_a_built_in_loss_alone() -> None:
    data = load_targets(np.eye(4)[NUMBERS])
    assert torch.bincount(everything(data)).tolist() == np.bincount(NUMBERS).tolist()
    own = load_targets(np.eye(4)[NUMBERS], own_loss=True)
    assert own.train.targets.shape[1:] == (4,)
    numbers = own.class_numbers(everything(own))
    assert torch.bincount(numbers).tolist() == np.bincount(NUMBERS).tolist()


def test_one_hot_masks_are_numbered_along_the_classes() -> None:
    one_hot = np.moveaxis(np.eye(3)[MASKS], -1, 1)
    data = load_targets(one_hot)
    assert data.train.targets.shape[1:] == (6, 5)
    assert data.train.targets.dtype == torch.int64
    assert not data.one_hot


def test_shares_stay_fractions_and_the_largest_is_the_class() -> None:
    data = load_targets(SHARES, "classification")
    assert data.train.targets.dtype == torch.float32
    numbers = data.class_numbers(everything(data))
    assert torch.bincount(numbers).tolist() == np.bincount(SHARES.argmax(axis=1)).tolist()


def test_numbers_given_to_a_loss_of_ones_own_are_numbered_for_metrics() -> None:
    signs = np.where(NUMBERS > 1, 1.0, -1.0)
    for y in (signs, signs[:, None]):
        data = load_targets(y, own_loss=True)
        numbers = data.class_numbers(data.train.targets)
        assert numbers.shape == (len(data.train),)
        assert torch.equal(numbers * 2.0 - 1, data.train.targets.reshape(-1))


def test_ignored_positions_are_no_class() -> None:
    masks = np.where(RNG.random(MASKS.shape) < 0.2, -100, MASKS)
    data = load_targets(masks)
    assert (data.task, data.outputs) == ("classification", 3)
    assert (everything(data) == -100).any()


def test_names_at_every_position_are_classes() -> None:
    data = load_targets(np.array(["O", "PER", "LOC"])[MASKS])
    assert data.classes == ("LOC", "O", "PER")
    assert data.train.targets.shape[1:] == (6, 5)


@pytest.mark.parametrize(
    ("y", "task", "says"),
    [
        pytest.param(
            X, "classification", "that are no classes: give whole numbers", id="fractions"
        ),
        pytest.param(MASKS - 1, "classification", "numbers from -1 to 1", id="below zero"),
        pytest.param(MASKS * 0, None, "there is nothing to predict", id="constant"),
        pytest.param(np.where(MASKS > 0, 7, -100), None, "one class only", id="one class"),
        pytest.param(X[:, :2] * 0 + 3.5, None, "nothing to predict", id="constant quantities"),
        pytest.param(np.array(["a", "b"])[MANY_LABELS], "regression", "holds text", id="text"),
        pytest.param(np.full((ROWS, 2), 1j), None, "numbers of type complex128", id="complex"),
        pytest.param(
            np.array([["a", 1.5]] * ROWS, dtype=object), None, "values of several types", id="mixed"
        ),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_one_sentence(
    y: Any, task: str | None, says: str
) -> None:
    with pytest.raises(DataError) as caught:
        load_targets(y, task)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
