"""Training steps: a batch in parts has the gradients of the whole."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from widthwise.objectives.data.streams.batch import Batch, read_batch
from widthwise.objectives.errors import DataError
from widthwise.objectives.training.step import (
    StepSpec,
    TensorSpec,
    batch_specs,
    training_step,
)


def test_the_specs_of_a_batch_make_batches_like_it() -> None:
    x, table, y = torch.randn(4, 3), torch.randn(9, 2), torch.arange(4)
    given = {"x": x, "table": table, "name": "of a graph"}
    batch = Batch((), {"x": x, "table": table, "name": "of a graph"}, (y, {"other": x}), given)
    step = StepSpec(**batch_specs(batch), batch_size=7)
    made = step.empty()
    assert made.kwargs["x"].shape == (7, 3)
    assert made.kwargs["table"].shape == (9, 2)  # of all samples together
    assert made.kwargs["name"] == "of a graph"
    assert made.targets[0].shape == (7,)
    assert made.targets[0].dtype == torch.int64
    assert made.targets[1]["other"].shape == (7, 3)
    assert step.describe_inputs() == "x [7, 3] float32, table [9, 2] float32"


def test_a_loss_without_targets_gets_the_batch_as_it_was_given() -> None:
    x = torch.randn(4, 3)
    step = StepSpec(**batch_specs(Batch((x,), given=[x, "name"])), batch_size=5)
    made = step.empty()
    assert made.compared is made.given
    assert made.given[1] == "name"
    assert made.given[0] is made.args[0]  # and takes no memory of its own


def test_a_loss_without_targets_gets_the_inputs_where_nothing_else_was_given() -> None:
    made = StepSpec(inputs=(TensorSpec(shape=(3,)),), batch_size=5).zeros(2)
    assert made.compared is made.args[0]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"x": torch.zeros(4, 3), "labels": torch.zeros(4)}, id="a mapping"),
        pytest.param((torch.zeros(4, 3), torch.zeros(4)), id="a pair"),
    ],
)
def test_targets_that_go_into_the_forward_too_are_one_tensor(given: Any) -> None:
    batch = read_batch(given, model_loss=True)
    made = StepSpec(**batch_specs(batch), batch_size=5).empty()
    labels = made.kwargs["labels"] if made.kwargs else made.args[1]
    assert labels is made.targets


def test_specs_that_were_not_read_from_a_batch_are_tensors_of_their_own() -> None:
    spec = TensorSpec(shape=(3,))
    made = StepSpec(inputs=(spec, spec), targets=spec, batch_size=5).empty()
    assert len({value.data_ptr() for value in (*made.args, made.targets)}) == 3


def test_what_is_no_tensor_is_not_divided() -> None:
    packed = pack_sequence([torch.randn(4, 2), torch.randn(2, 2)])
    model = nn.GRU(2, 3)
    batch = read_batch((packed, torch.randn(2, 3)))

    def loss(output: Any, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(output[1][0], targets)

    assert training_step(model, None, loss, batch).isfinite()
    says = "a batch holds a PackedSequence, which cannot be divided into 2 parts: leave accumulate"
    with pytest.raises(DataError, match=says):
        training_step(model, None, loss, batch, accumulate=2)


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
