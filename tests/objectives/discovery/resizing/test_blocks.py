"""Lists of equal blocks: which ones qualify, and models with more or fewer of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.discovery.groups import Discovery, Expression
from widthwise.objectives.discovery.resizing.blocks import find_block_lists, resize_block_list
from widthwise.objectives.discovery.resizing.errors import ResizeError


class Block(nn.Module):
    def __init__(self, size: int, layer_idx: int = 0, rate: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Linear(size, size)
        self.layer_idx, self.rate = layer_idx, rate

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.linear(x)
        return result


class Net(nn.Module):
    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.n_layer = len(blocks)
        self.blocks = nn.ModuleList(blocks)


def as_they_are(model: nn.Module) -> Discovery:
    """Return a discovery in which every size is a constant."""
    parameters = {
        name: tuple(Expression.constant(size) for size in value.shape)
        for name, value in model.named_parameters(remove_duplicate=False)
    }
    return Discovery((), (), parameters=parameters)


SHARED = nn.Linear(4, 4)


def shared_blocks() -> list[nn.Module]:
    blocks = [Block(4), Block(4)]
    for block in blocks:
        block.linear = SHARED
    return [*blocks]


@pytest.mark.parametrize(
    ("make_blocks", "found"),
    [
        (lambda: [Block(4), Block(4)], [("blocks", 2, ("blocks.0", "blocks.1"))]),
        (lambda: [Block(4), Block(6)], []),
        (lambda: [Block(4)], []),
        (lambda: [Block(4), nn.Linear(4, 4)], []),
        (lambda: [nn.ReLU(), nn.ReLU()], []),
        (shared_blocks, []),
    ],
    ids=["equal", "sizes", "one", "types", "no parameters", "shared"],
)
def test_lists_that_qualify(make_blocks: Callable[[], list[nn.Module]], found: Any) -> None:
    model = Net(make_blocks())
    lists = find_block_lists(model, as_they_are(model))
    assert [(depth.name, depth.size, depth.blocks) for depth in lists] == found


def test_only_the_outer_list_counts() -> None:
    model = Net([nn.Sequential(Block(4), Block(4)) for _ in range(3)])
    assert [depth.path for depth in find_block_lists(model, as_they_are(model))] == ["blocks"]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_another_number_of_blocks(number: int) -> None:
    def make_model() -> Net:
        return Net([Block(4, position) for position in range(2)])

    torch.manual_seed(0)
    model = make_model()
    resize_block_list(model, "blocks", number, make_model)
    blocks: Any = model.blocks
    assert [block.layer_idx for block in blocks] == list(range(number))
    assert model.n_layer == number
    weights = {tuple(block.linear.weight.flatten().tolist()) for block in blocks}
    assert len(weights) == number  # each has its own start


def test_blocks_that_differ_in_a_number_can_be_fewer_not_more() -> None:
    def make_model() -> Net:
        return Net([Block(4, position, 0.1 * position) for position in range(2)])

    model = make_model()
    with pytest.raises(ResizeError, match=r"differ in rate \(0.0 and 0.1\)"):
        resize_block_list(model, "blocks", 3, make_model)
    resize_block_list(model, "blocks", 1, make_model)
    assert len(model.blocks) == 1
