"""A fold: every row is in a batch, and the model is in the mode of its turn."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.settings import ProxySettings

BASE = Path()
WIDTHS = {"a": 16, "b": 8}


@pytest.mark.parametrize(
    ("rows", "batch_size", "sizes"),
    [
        pytest.param(90, 32, [32, 32, 26], id="a shorter last one"),
        pytest.param(90, 89, [89], id="a lone last row is left out"),
        pytest.param(90, 128, [90], id="all at once"),
        pytest.param(90, 90, [90], id="exactly"),
        pytest.param(5, 1, [1, 1, 1, 1, 1], id="singles"),
    ],
)
def test_every_row_is_in_a_batch(rows: int, batch_size: int, sizes: list[int], iris: Data) -> None:
    recorded: list[Tensor] = []

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                recorded.append(x)
            return super().forward(x)

    short = Split(inputs=iris.train.inputs[:rows], targets=iris.train.targets[:rows])
    objective = make_objective(
        build=lambda _: Watching(4, 3), data=replace(iris, train=short), base=BASE
    )
    train(objective, {}, ProxySettings(epochs=2, batch_size=batch_size, device="cpu"), seed=0)
    half = len(recorded) // 2
    assert [len(batch) for batch in recorded] == sizes * 2
    first, second = torch.cat(recorded[:half]), torch.cat(recorded[half:])
    assert not torch.equal(first, second)
    if sum(sizes) == rows:
        assert torch.equal(first.sort(dim=0).values, short.inputs.sort(dim=0).values)


def test_a_lone_last_row_does_not_break_batch_norm(iris: Data) -> None:
    objective = make_objective(family="mlp", options={"norm": "batch"}, data=iris, base=BASE)
    assert len(iris.train) % 89 == 1
    settings = ProxySettings(epochs=2, batch_size=89, device="cpu")
    assert train(objective, WIDTHS, settings, seed=0).outcome == "complete"


def test_the_model_is_in_the_right_mode(iris: Data) -> None:
    modes: list[bool] = []

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(x)

    objective = make_objective(build=lambda _: Watching(4, 3), data=iris, base=BASE)
    settings = ProxySettings(epochs=2, batch_size=90, device="cpu", judge_test=True)
    train(objective, {}, settings, seed=0)
    # An epoch and its validation, twice; then the test split, and the rows learnt from.
    assert modes == [True, False, True, False, False, False]
