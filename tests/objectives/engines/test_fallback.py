"""An engine that breaks down is replaced by the plain one, and only the engine's name tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.engines.base import EngineUnsupported, Member, Session, TrainingSetup
from widthwise.objectives.engines.fallback import FallbackSession
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.training.settings import Halving, ProxySettings
from widthwise.tests.objectives.engines.equality import CPU
from widthwise.tests.objectives.loop.snapshots import (
    DATA,
    SHORT_SETTINGS,
    FileSnapshotStore,
    ResumableTraining,
    TrainingInterrupted,
    make_candidates,
    make_custom_objective,
    mlp_objective,
    pause_every,
)


class FailingEngine:
    """The plain engine under another name, which breaks down in one of its calls.

    Args:
        method: The method of the session, or "start".
        call: Which of its calls fails, from 1.
        error: What is raised there.
        after: Whether the call is done before it fails.
    """

    name = "flaky"

    def __init__(self, method: str, call: int, error: BaseException, *, after: bool = True) -> None:
        self._method, self._calls_left, self._error, self._after = method, call, error, after

    def start(self, training: TrainingSetup, members: Sequence[Member]) -> Any:
        self._count("start")
        session = PlainEngine().start(training, members)
        for name in ("advance", "predict", "save_best", "restore_best", "drop", "load_state"):
            setattr(session, name, self._counting(name, getattr(session, name)))
        return session

    def _count(self, method: str) -> None:
        self._calls_left -= method == self._method
        if method == self._method and self._calls_left == 0:
            raise self._error

    def _counting(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            if not self._after:
                self._count(name)
            returned = method(*arguments)
            if self._after:
                self._count(name)
            return returned

        return counted


class NanAtThree(nn.Module):
    """A network that returns NaN at width 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(7, width), nn.Tanh(), nn.Linear(width, 3))
        self.factor = float("nan") if width == 3 else 1.0

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x) * self.factor
        return out


@pytest.mark.parametrize(
    ("method", "call", "error"),
    [
        pytest.param("start", 1, EngineUnsupported("not this one"), id="unsupported"),
        pytest.param("start", 1, SystemExit(1), id="exit at the start"),
        pytest.param("advance", 1, torch.OutOfMemoryError("the whole stack"), id="memory"),
        pytest.param("advance", 4, SystemExit(1), id="exit in training"),
        pytest.param("predict", 3, RuntimeError("boom"), id="predict"),
        pytest.param("save_best", 2, RuntimeError("boom"), id="save_best"),
        pytest.param("restore_best", 1, RuntimeError("boom"), id="restore_best"),
        pytest.param("drop", 2, RuntimeError("boom"), id="drop"),
    ],
)
def test_a_breakdown_changes_no_figure(method: str, call: int, error: BaseException) -> None:
    """Also with members that ended before: by patience, at a rung, by a failure of their own."""
    plain = ResumableTraining(
        make_custom_objective(NanAtThree),
        [
            Candidate(widths={"a": width}, seed=100 + index, never_pruned=width == 2)
            for index, width in enumerate((2, 3, 5, 8, 9, 12))
        ],
        replace(
            SHORT_SETTINGS, epochs=6, patience=2, halving=Halving(eta=2, first=0.5), replicas=2
        ),
        PlainEngine,
    )
    flaky = replace(plain, engine=lambda: FailingEngine(method, call, error))
    results, expected = flaky.train_uninterrupted(), plain.train_uninterrupted()
    assert len({result.outcome for result in expected}) == 3
    for result, plain_result in zip(results, expected, strict=True):
        assert result.engine.startswith("plain (flaky: ")
        # repr, since NaN is not equal to itself
        assert repr(replace(result, engine="plain")) == repr(plain_result)


@pytest.mark.parametrize(
    ("method", "call", "name"),
    [
        pytest.param("never", 1, "flaky", id="none"),
        pytest.param(
            "start", 2, "flaky, plain (flaky: EngineUnsupported: too odd)", id="of one fold"
        ),
    ],
)
def test_the_result_names_what_trained(method: str, call: int, name: str) -> None:
    (result,) = ResumableTraining(
        mlp_objective(),
        make_candidates(2),
        replace(SHORT_SETTINGS, folds=2),
        lambda: FailingEngine(method, call, EngineUnsupported("too odd")),
    ).train_uninterrupted()
    assert result.engine == name


@pytest.mark.parametrize("call", range(1, 5))
def test_a_breakdown_after_resuming(call: int, tmp_path: Path) -> None:
    """The plain engine continues from the snapshot or starts over: the numbers are the same."""
    run = ResumableTraining(
        mlp_objective(),
        make_candidates(3, 8),
        SHORT_SETTINGS,
        PlainEngine,
        make_slicer=pause_every(2),
    )
    with pytest.raises(TrainingInterrupted):
        run.train_with_store(FileSnapshotStore(tmp_path, 4))
    error = RuntimeError("it broke down")
    flaky = replace(run, engine=lambda: FailingEngine("advance", call, error, after=False))
    results = flaky.train_with_store(FileSnapshotStore(tmp_path))
    for result, expected in zip(results, run.train_uninterrupted(), strict=True):
        assert result.engine == "plain, plain (flaky: RuntimeError: it broke down)"
        assert replace(result, engine="plain") == expected


def test_a_breakdown_while_a_state_is_loaded(tmp_path: Path) -> None:
    run = ResumableTraining(mlp_objective(), make_candidates(3, 8), SHORT_SETTINGS, PlainEngine)
    with pytest.raises(TrainingInterrupted):
        run.train_with_store(FileSnapshotStore(tmp_path, 2))
    store, error = FileSnapshotStore(tmp_path), torch.OutOfMemoryError("CUDA out of memory")
    flaky = replace(run, engine=lambda: FailingEngine("load_state", 1, error))
    results = flaky.train_with_store(store)
    assert [replace(result, engine="plain") for result in results] == run.train_uninterrupted()
    assert "plain (flaky: OutOfMemoryError" in results[0].engine
    assert min(epochs for _, epochs in store.saved) == 3.0


class Counted(nn.Sequential):
    """A network that counts the training steps of all its instances."""

    steps = 0

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(7, width), nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        Counted.steps += self.training
        return super().forward(x)


def test_a_breakdown_at_once_keeps_the_epochs_of_the_snapshot(tmp_path: Path) -> None:
    """Otherwise a training that is interrupted again and again would never end."""
    run = ResumableTraining(
        make_custom_objective(Counted), make_candidates(3), SHORT_SETTINGS, PlainEngine
    )
    with pytest.raises(TrainingInterrupted):
        run.train_with_store(FileSnapshotStore(tmp_path, 3))
    Counted.steps = 0
    error = RuntimeError("it broke down")
    flaky = replace(run, engine=lambda: FailingEngine("advance", 1, error, after=False))
    flaky.train_with_store(FileSnapshotStore(tmp_path))
    assert Counted.steps == 3


def test_what_is_not_to_be_repeated_is_not() -> None:
    setup = TrainingSetup(
        objective=mlp_objective(), data=DATA, settings=ProxySettings(device="cpu"), device=CPU
    )
    rewound: list[list[int]] = []

    def rewind(_: Session, initialised: Any) -> None:
        rewound.append(list(initialised))

    members = [Member(widths={"a": 4, "b": 4}, seed=1, learning_rate=0.1)]
    engine = FailingEngine("predict", 1, RuntimeError("boom"))
    session, done = FallbackSession(engine, setup, members, rewind), []
    session.run(lambda _: done.append("once"))
    session.run(lambda _: done.append("again"), repeat=True)
    session.run(lambda current: current.predict([0], DATA.test.inputs))
    assert done == ["once", "again", "again"]
    assert rewound == [[]]
    assert session.description == "plain (flaky: RuntimeError: boom)"
