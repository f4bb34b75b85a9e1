"""The type of the inputs: whole numbers stay whole where the model takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.arrays.result import read_result
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.engines.dense.engine import DenseEngine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.replay.engine import ReplayEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.errors import ModelError
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.check_builder import check_builder
from widthwise.objectives.training.input_type import adapt_input_type
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.model.builders import BASE, Widths, custom_objective

SMALL, LARGE = {"a": 4}, {"a": 16}
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 100, (120, 16))
TOKEN_LABELS = (TOKENS < 50).mean(axis=1) > 0.5
IMAGES = RNG.integers(0, 256, (120, 1, 8, 8)).astype(np.uint8)
IMAGE_LABELS = IMAGES[:, 0, 0, 0] > 127
MASKS = (IMAGES[:, 0] > 90).astype(np.int64) + (IMAGES[:, 0] > 180)
LABELS = np.stack([IMAGE_LABELS, TOKEN_LABELS], axis=1)


class Tokens(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(100, width), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embed(x).mean(1))  # type: ignore[no-any-return]


class Pixels(nn.Module):
    """Takes bytes and scales them itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.float() / 255)  # type: ignore[no-any-return]


def tokens(widths: Widths) -> nn.Module:
    return Tokens(widths["a"])


def pixels(widths: Widths) -> nn.Module:
    return Pixels(widths["a"])


def convolution(widths: Widths) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, widths["a"], 3), nn.Flatten(), nn.LazyLinear(2))


def segmenter(widths: Widths) -> nn.Module:
    a = widths["a"]
    return nn.Sequential(nn.Conv2d(1, a, 3, padding=1), nn.ReLU(), nn.Conv2d(a, 3, 1))


def two_logits(widths: Widths) -> nn.Module:
    a = widths["a"]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, a), nn.ReLU(), nn.Linear(a, 2))


def load(x: Any, y: Any) -> Data:
    raw = read_result("own.py:data", (x, y))
    assert not isinstance(raw, Data)
    return make_dataset(raw, seed=0)


def adapted(build: Callable[[Widths], nn.Module], x: Any, y: Any) -> ModuleObjective:
    return adapt_input_type(custom_objective(build, load(x, y)), SMALL)


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("build", "x", "y", "dtype"),
    [
        pytest.param(tokens, TOKENS, TOKEN_LABELS, torch.int64, id="token ids"),
        pytest.param(tokens, TOKENS.astype(np.int32), TOKEN_LABELS, torch.int32, id="32 bits"),
        pytest.param(tokens, TOKENS.astype(np.uint8), TOKEN_LABELS, torch.int64, id="byte ids"),
        pytest.param(tokens, TOKENS.astype(np.int16), TOKEN_LABELS, torch.int64, id="16 bits"),
        pytest.param(pixels, IMAGES, IMAGE_LABELS, torch.uint8, id="bytes that it takes"),
        pytest.param(convolution, IMAGES, IMAGE_LABELS, torch.float32, id="lazy pixels"),
        pytest.param(segmenter, IMAGES.astype(np.int64), MASKS, torch.float32, id="whole pixels"),
        pytest.param(two_logits, IMAGES > 127, IMAGE_LABELS, torch.float32, id="bits"),
    ],
)
def test_the_model_says_which_type_it_takes(
    build: Callable[[Widths], nn.Module], x: Any, y: Any, dtype: torch.dtype, convert: Any
) -> None:
    objective = adapted(build, convert(x), convert(y))
    data = objective.data
    assert {split.inputs.dtype for split in (data.train, data.validation, data.test)} == {dtype}
    given = torch.as_tensor(x).dtype
    assert any("which the model does not take" in note for note in data.notes) == (dtype != given)
    check_builder(objective, SMALL, LARGE)


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_families_take_whole_numbers(family: str) -> None:
    data = load(IMAGES, IMAGE_LABELS)
    objective = adapt_input_type(make_objective(family=family, data=data, base=BASE), SMALL)
    assert objective.data.train.inputs.dtype == torch.float32
    check_builder(objective, SMALL, LARGE)


def test_a_model_that_takes_no_type_is_told_by_the_check() -> None:
    objective = adapted(lambda w: nn.Linear(99, w["a"]), TOKENS, TOKEN_LABELS)
    assert objective.data.train.inputs.dtype == torch.int64
    with pytest.raises(ModelError, match=r"inputs of shape \[2, 16\] int64"):
        check_builder(objective, SMALL, SMALL)


@pytest.mark.parametrize(
    "engine", [PlainEngine, ReplayEngine, StackedEngine, DenseEngine], ids=lambda kind: kind.name
)
@pytest.mark.parametrize(
    ("build", "x", "y"),
    [
        pytest.param(tokens, TOKENS, TOKEN_LABELS, id="token ids"),
        pytest.param(segmenter, IMAGES / 255.0, MASKS, id="masks"),
        pytest.param(two_logits, IMAGES / 255.0, LABELS, id="several labels"),
    ],
)
def test_every_engine_trains_them_alike_or_leaves_them_to_the_plain_one(
    build: Callable[[Widths], nn.Module], x: Any, y: Any, engine: Callable[[], Any]
) -> None:
    objective = adapted(build, x, y)
    settings = ProxySettings(epochs=3, batch_size=16, learning_rate=0.01, device="cpu")
    plain = train(objective, LARGE, settings, seed=1)
    result = train(objective, LARGE, settings, seed=1, engine=engine())
    assert plain.losses[-1] < plain.losses[0]
    assert result.losses == pytest.approx(plain.losses, rel=1e-4)
    assert result.curve == pytest.approx(plain.curve, abs=0.05)
