"""Models of all kinds are resumed from a snapshot; others are trained without one."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.tests.objectives.loop.snapshots import (
    ENGINES,
    SHORT_SETTINGS,
    FileSnapshotStore,
    ResumableTraining,
    assert_same_snapshots,
    make_candidates,
    make_custom_objective,
    pause_every,
)


class Drawing(nn.Module):
    """Draws from every stream that there is, and from generators of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(7, width), nn.Linear(width, 3)
        self.python, self.numpy = random.Random(3), np.random.default_rng(4)
        self.old, self.torch = np.random.RandomState(5), torch.Generator().manual_seed(6)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(self.first(x).relu(), 0.3, self.training)
        if self.training:
            noise = torch.randn_like(x) + torch.randn(x.shape, generator=self.torch)
            x = x + 0.1 * noise * random.random() * np.random.rand()
            x = x * (1 + 0.1 * (self.python.random() + self.numpy.random() + self.old.rand()))
        return self.out(x)


class Counting(nn.Module):
    """State that no `state_dict` has: counts, lists, arrays, tensors and buffers of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(7, width), nn.Linear(width, 3)
        self.calls, self.warmth, self.seen = 0, 1.0, {"rows": [0]}
        self.mean, self.last = torch.zeros(width, dtype=torch.float64), None
        self.array = np.zeros(2)
        self.shared = self.mean
        self.register_buffer("unstated", torch.zeros(width), persistent=False)
        self.register_buffer("none", None)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if self.training:
            self.calls += 1
            self.warmth *= 0.99
            self.seen["rows"].append(len(x))
            self.mean.lerp_(hidden.detach().mean(0), 0.1)
            self.unstated += hidden.detach().mean(0)
            self.array[self.calls % 2] += float(hidden.detach().mean())
            self.last = hidden
        before = 0.0 if self.last is None else float(self.last.detach().sum())
        scale = self.warmth + 1e-3 * (sum(self.seen["rows"]) + before + self.array.sum())
        hidden = (hidden - self.shared) * scale if self.calls % 3 else hidden - self.unstated
        return self.out(hidden.tanh())


class Extra(nn.Module):
    """A `state_dict` that holds more than tensors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.out, self._many = nn.Linear(7, width), nn.Linear(width, 3), {"n": 0}

    def get_extra_state(self) -> Any:
        return {"many": dict(self._many), "pair": (1, "two")}

    def set_extra_state(self, state: Any) -> None:
        assert state["pair"] == (1, "two")
        self._many = dict(state["many"])

    def forward(self, x: Tensor) -> Tensor:
        self._many["n"] += self.training
        return self.out(self.first(x) * (1 + 0.01 * self._many["n"]))


class Partly(nn.Module):
    """Parameters frozen, idle, tied, without dimensions, and used in some steps only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(7, width), nn.Linear(width, 3)
        self.again = nn.Linear(width, width)
        self.back = nn.Linear(width, width)
        self.back.weight = self.again.weight
        self.idle, self.scale = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(()))
        self.sometimes = nn.Parameter(torch.zeros(width))
        self.first.bias.requires_grad_(False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.step += self.training
        x = self.back(self.again(self.first(x)).relu()) * self.scale
        if int(self.step) % 2:
            x = x + self.sometimes
        return self.out(x)


class Recurrent(nn.Module):
    """An LSTM, whose module keeps a list of its parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(1, width, batch_first=True), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.lstm(x.unsqueeze(-1))
        return self.out(hidden[:, -1])


class Viewing(nn.Module):
    """An attribute that is a view of a parameter, and must stay one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(7, width), nn.Linear(width, 3)
        self.view = self.first.weight.detach().t()

    def forward(self, x: Tensor) -> Tensor:
        if self.view.data_ptr() != self.first.weight.data_ptr():
            self.view = self.first.weight.detach().t()
        return self.out(self.first(x) + 0.1 * x @ self.view)


class Complex(nn.Module):
    """Complex weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(7, width, dtype=torch.complex128))
        self.out = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x.to(self.first.dtype) @ self.first).abs())

    def double(self) -> Complex:
        self.out.double()
        return self


class Convolutional(nn.Module):
    """Statistics of batch normalisation, channels dropped, weights whose channels lie together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width)
        self.drop, self.out = nn.Dropout2d(0.3), nn.Linear(width, 3)
        self.second = nn.Conv2d(width, width, 3).to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.unsqueeze(1).unsqueeze(-1).expand(-1, -1, -1, 5))
        return self.out(self.second(self.drop(self.norm(x).relu())).mean((2, 3)))


class Attending(nn.Module):
    """A transformer's layer, with torch's own dropout inside of the attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(1, 2 * width)
        self.layer = nn.TransformerEncoderLayer(2 * width, 2, 8, 0.3, batch_first=True)
        self.out = nn.Linear(2 * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.first(x.unsqueeze(-1))).mean(1))


class Reparametrised(nn.Module):
    """Weights that are computed from others, in torch's new way and in its old one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(7, width))
        self.second = nn.utils.parametrizations.spectral_norm(nn.Linear(width, width))
        self.out = nn.utils.spectral_norm(nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.second(self.first(x)).relu())


MODELS: list[Callable[[int], nn.Module]] = [
    Drawing,
    Counting,
    Extra,
    Partly,
    Recurrent,
    Viewing,
    Complex,
    Convolutional,
    Attending,
    Reparametrised,
]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["plain", "replay"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_any_model_is_resumed_bit_for_bit(
    model: Callable[[int], nn.Module],
    engine: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = ResumableTraining(
        make_custom_objective(model),
        make_candidates(3, 6),
        SHORT_SETTINGS,
        ENGINES[engine],
        make_slicer=pause_every(1),
    )
    uninterrupted = FileSnapshotStore(tmp_path / "whole")
    expected = run.train_with_store(uninterrupted)
    assert expected == run.train_uninterrupted()
    assert all(result.outcome == "complete" for result in expected)
    results, stores = run.train_in_pieces(tmp_path / "pieces", 2)
    assert results == expected
    assert len(stores) > 5
    for store in stores:
        if store.saved:
            assert_same_snapshots(store.saved, uninterrupted.saved)
    assert not caplog.records


class Unstorable(nn.Module):
    """Keeps an object of its own, exchanged in every pass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(7, width), nn.Linear(width, 3))
        self.note: Any = object()

    def forward(self, x: Tensor) -> Tensor:
        self.note = object()
        return self.layers(x)  # type: ignore[no-any-return]


class Refusing(nn.Sequential):
    """A network whose own code fails when it is asked for its state in training."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(7, width), nn.Linear(width, 3))

    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        if self.training:
            raise KeyError("not now")
        return super().state_dict(*arguments, **options)


@pytest.mark.parametrize("model", [Unstorable, Refusing], ids=lambda model: model.__name__)
def test_a_state_that_cannot_be_stored_is_logged_once_and_ends_nothing(
    model: Callable[[int], nn.Module],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = ResumableTraining(
        make_custom_objective(model),
        make_candidates(3),
        SHORT_SETTINGS,
        PlainEngine,
        make_slicer=pause_every(1),
    )
    assert run.train_with_store(FileSnapshotStore(tmp_path)) == run.train_uninterrupted()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cannot be checkpointed" in record.getMessage()
