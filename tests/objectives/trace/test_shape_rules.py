"""Fake results hold what real ones hold: every storage of many operators, compared in bytes."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils._pytree import tree_leaves
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.trace.fake_model import FakeCPU
from widthwise.tests.objectives.trace.real_step import OPTIMIZERS, real_peaks

ROWS, COLUMNS = 8, 5


def floats(*shape: int) -> Tensor:
    return torch.rand(shape or (ROWS, COLUMNS))


def classes(*shape: int) -> Tensor:
    return torch.zeros(shape or (ROWS,), dtype=torch.int64)


def bag(mode: str) -> Callable[[], tuple[Tensor, ...]]:
    number = ("sum", "mean", "max").index(mode)
    return lambda: torch.ops.aten._embedding_bag(
        floats(50, 4), classes(16), torch.arange(0, 16, 2), False, number
    )


OPERATIONS: dict[str, Callable[[], object]] = {
    "mse_loss": lambda: F.mse_loss(floats(), floats()),
    "mse_loss, summed": lambda: F.mse_loss(floats(), floats(), reduction="sum"),
    "mse_loss, not reduced": lambda: F.mse_loss(floats(), floats(), reduction="none"),
    "mse_loss, broadcast": lambda: torch.ops.aten.mse_loss(floats(ROWS, 1), floats(1, COLUMNS)),
    "mse_loss, mixed types": lambda: F.mse_loss(floats().double(), floats()),
    "smooth_l1_loss": lambda: F.smooth_l1_loss(floats(), floats()),
    "huber_loss": lambda: F.huber_loss(floats(), floats()),
    "l1_loss": lambda: F.l1_loss(floats(), floats()),
    "soft_margin_loss": lambda: F.soft_margin_loss(floats(), floats()),
    "binary_cross_entropy": lambda: F.binary_cross_entropy(floats(), floats()),
    "binary_cross_entropy, weighted": lambda: F.binary_cross_entropy(
        floats(), floats(), weight=floats(COLUMNS)
    ),
    "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(
        floats(), floats()
    ),
    "cross_entropy": lambda: F.cross_entropy(floats(), classes()),
    "nll_loss2d": lambda: F.nll_loss(floats(ROWS, COLUMNS, 3, 3), classes(ROWS, 3, 3)),
    "kl_div": lambda: F.kl_div(floats(), floats(), reduction="batchmean"),
    "multi_margin_loss": lambda: F.multi_margin_loss(floats(), classes()),
    "embedding_bag, sum": bag("sum"),
    "embedding_bag, mean": bag("mean"),
    "embedding_bag, max": bag("max"),
    "log_sigmoid": lambda: torch.ops.aten.log_sigmoid_forward(floats()),
    "layer norm": lambda: torch.native_layer_norm(floats(), [COLUMNS], None, None, 1e-5),
    "batch norm": lambda: torch.native_batch_norm(
        floats(), None, None, None, None, True, 0.1, 1e-5
    ),
    "dropout": lambda: torch.native_dropout(floats(), 0.5, True),
    "max pool": lambda: F.max_pool2d(floats(ROWS, 4, 6, 6), 2, return_indices=True),
    "attention": lambda: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        floats(ROWS, 2, 6, 8), floats(ROWS, 2, 6, 8), floats(ROWS, 2, 6, 8)
    ),
    "grid_sample": lambda: F.grid_sample(
        floats(ROWS, 4, 6, 6), floats(ROWS, 3, 3, 2), align_corners=False
    ),
    "unfold": lambda: F.unfold(floats(ROWS, 4, 6, 6), 3),
    "cumsum": lambda: floats().cumsum(0),
    "topk": lambda: floats().topk(2),
    "svd": lambda: torch.linalg.svd(floats()),
}


def sizes(operation: Callable[[], object]) -> list[int]:
    return [tensor.untyped_storage().nbytes() for tensor in tree_leaves(operation())]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_fake_storages_are_as_large_as_real_ones(operation: str) -> None:
    real = sizes(OPERATIONS[operation])
    with FakeCPU():
        assert sizes(OPERATIONS[operation]) == real


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_regression_step_is_predicted_to_the_byte(reduction: str) -> None:
    """512 × 64 outputs: the loss alone keeps 128 KiB."""
    step = StepSpec(
        inputs=(TensorSpec(shape=(3,)),),
        targets=TensorSpec(shape=(64,)),
        batch_size=512,
        optimizer="sgd",
        loss=lambda output, targets: F.mse_loss(output, targets, reduction=reduction),
    )
    build = partial(torch.nn.Linear, 3, 64)
    real, _ = real_peaks(build, step, OPTIMIZERS["sgd"][1])
    assert count_costs(build, step).train_memory == real
